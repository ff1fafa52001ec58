/* topicsd: the program that is started. Settings, ground, children; see docs/architecture.md. */
#include <sodium.h>
#include <stdio.h>
#include <unistd.h>

#include "supervisor/options.h"
#include "supervisor/start.h"
#include "supervisor/supervise.h"

static void warn(const char *variable)
{
	fprintf(stderr, "topicsd: warning: %s is not a setting; topicsd --help lists them\n", variable);
}

int main(int argc, char **argv)
{
	struct options options;
	struct ground ground;
	char message[1024] = "";

	if (sodium_init() < 0) {
		fprintf(stderr, "topicsd: no source of randomness\n");
		return 1;
	}
	if (options_read(&options, argc, argv, environ, warn, message, sizeof message) != ERR_OK) {
		fprintf(stderr, "topicsd: %s\n", message);
		return 2;
	}
	if (options.help) {
		options_help();
		return 0;
	}
	if (options.version) {
		printf("topicsd %s\n", PACKAGE_VERSION);
		return 0;
	}
	if (options.check_only) {
		printf("the settings are good: %s:%lu, data in %s, %u workers\n", options.host, (unsigned long)options.port, options.data_dir,
		       options.settings.workers);
		return 0;
	}
	if (start_ground(&ground, &options, message, sizeof message) != ERR_OK) {
		fprintf(stderr, "topicsd: %s\n", message);
		return 1;
	}
	if (options.port_file[0] != '\0' && start_port_file(options.port_file, ground.bound) != ERR_OK) {
		perror("topicsd: the port file cannot be written");
		return 1;
	}
	return supervise(&options, &ground);
}
