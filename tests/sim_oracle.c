#include "tests/sim_oracle.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

const char *const sim_crash_names[SIM_CRASHES] = { "none", "logd", "logd+worker", "all", "power" };

void sim_oracle_init(struct sim_oracle *oracle, uint64_t seed)
{
	memset(oracle, 0, sizeof *oracle);
	oracle->random = seed;
}

void sim_oracle_free(struct sim_oracle *oracle)
{
	for (unsigned i = 0; i < oracle->count; i++)
		free(oracle->requests[i].bytes);
}

void sim_wrong(struct sim_oracle *oracle, enum sim_figure figure, const char *format, ...)
{
	static const char *const names[SIM_FIGURES] = { "acked loss", "silent gap", "reused seq", "false tombstone", "other" };
	va_list arguments;
	char text[400];

	va_start(arguments, format);
	vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	if (sim_oracle_content(oracle))
		snprintf(oracle->first, sizeof oracle->first, "%s: %s", names[figure], text);
	oracle->found[figure]++;
}

bool sim_oracle_content(const struct sim_oracle *oracle)
{
	uint32_t sum = 0;

	for (int i = 0; i < SIM_FIGURES; i++)
		sum += oracle->found[i];
	return sum == 0;
}

void sim_oracle_print(const struct sim_oracle *oracle, FILE *out)
{
	static const char *const types[] = { "pad", "append", "put", "patch", "delete" };
	static const char *const states[] = { "planned", "sent", "answered", "orphaned" };

	for (unsigned i = 0; i < oracle->count; i++) {
		const struct sim_request *request = &oracle->requests[i];
		fprintf(out, "request %u: ring %u %s %s class %d, %u records, %u bytes%s: %s", i + 1, request->ring,
		        types[request->head.type], sim_names[request->name],
		        request->head.type == REQUEST_APPEND ? request->durability : request->config.durability, request->head.count,
		    request->head.body_length,
		        request->repeat_of != SIM_NO_REQUEST ? ", a repeat" : request->head.flags & REQUEST_HAS_KEY ? ", keyed" : "",
		    states[request->state]);
		if (request->state == SIM_ANSWERED)
			fprintf(out, " %s, flags %u, topic %llx first %llu head %llu durable %llu",
			        request->answer.status == 0 ? "ok" : error_code(request->answer.status),
			        request->answer.flags, (unsigned long long)request->answer.topic,
			    (unsigned long long)request->answer.first_seq,
			        (unsigned long long)request->answer.head, (unsigned long long)request->answer.durable);
		fprintf(out, "\n");
	}
}

static struct sim_topic *topic_known(struct sim_oracle *oracle, uint64_t id)
{
	for (unsigned i = 0; i < oracle->topic_count; i++)
		if (oracle->topics[i].id == id)
			return &oracle->topics[i];
	return NULL;
}

static struct sim_topic *topic_learn(struct sim_oracle *oracle, uint64_t id, unsigned name)
{
	struct sim_topic *topic = topic_known(oracle, id);

	if (topic == NULL && oracle->topic_count < SIM_TOPICS) {
		topic = &oracle->topics[oracle->topic_count++];
		*topic = (struct sim_topic){ .id = id, .name = name };
	}
	return topic;
}

static uint64_t larger(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

void sim_oracle_look(struct sim_oracle *oracle, const struct catalogue *now)
{
	struct sim_view view;

	sim_read(oracle, now, NULL, NULL, &view);
	for (unsigned i = 0; i < view.count; i++) {
		const struct sim_found *found = &view.topics[i];
		struct sim_topic *topic = topic_learn(oracle, found->id, found->name);
		topic->seen_head = larger(topic->seen_head, found->numbers.head);
		topic->seen_durable = larger(topic->seen_durable, found->numbers.durable);
		topic->classes |= 1u << found->config.durability;
		if (catalogue_partial(now))
			continue; /* it shows less of them than was seen before */
		topic->losses_count = found->loss_count;
		memcpy(topic->losses, found->losses, sizeof topic->losses);
	}
}

void sim_oracle_orphan(struct sim_oracle *oracle, unsigned ring)
{
	for (unsigned i = 0; i < oracle->count; i++)
		if (oracle->requests[i].state == SIM_SENT && oracle->requests[i].ring == ring)
			oracle->requests[i].state = SIM_ORPHANED;
}

/* ---- answers ---- */

static int root_of(const struct sim_oracle *oracle, int request)
{
	return oracle->requests[request].repeat_of == SIM_NO_REQUEST ? request : oracle->requests[request].repeat_of;
}

static bool acked(const struct sim_request *request)
{
	return request->state == SIM_ANSWERED && request->answer.status == ERR_OK;
}

/* It may have been done, or not. */
static bool unknown(const struct sim_request *request)
{
	return request->state == SIM_SENT || request->state == SIM_ORPHANED ||
	       (request->state == SIM_ANSWERED && request->answer.status == ERR_COMMIT_UNKNOWN);
}

static void check_ack(struct sim_oracle *oracle, struct sim_request *request, const struct catalogue *now)
{
	const struct completion *answer = &request->answer;
	struct topic_numbers numbers;
	struct topic_config config;
	int64_t slot = catalogue_find(now, sim_names[request->name], strlen(sim_names[request->name]));
	unsigned id = (unsigned)request->head.id;

	if (request->head.type != REQUEST_APPEND)
		return;
	if (answer->count != request->head.count || answer->first_seq == 0)
		sim_wrong(oracle, FIGURE_OTHER, "the answer to request %u counts %u records from seq %llu", id, answer->count,
		          (unsigned long long)answer->first_seq);
	if (!(answer->flags & COMPLETION_DEDUPED) && answer->head != answer->first_seq + answer->count - 1)
		sim_wrong(oracle, FIGURE_OTHER, "the answer to request %u says head %llu", id, (unsigned long long)answer->head);
	if ((answer->flags & COMPLETION_DEDUPED) && !(request->head.flags & REQUEST_HAS_KEY))
		sim_wrong(oracle, FIGURE_OTHER, "request %u has no key and was deduplicated", id);
	/* What is acked is visible; unless its topic has been deleted by a request behind it. */
	if (catalogue_numbers(now, slot, &numbers) != ERR_OK || numbers.id != answer->topic)
		return;
	if (numbers.head < answer->first_seq + answer->count - 1)
		sim_wrong(oracle, FIGURE_OTHER, "request %u is acked and not visible", id);
	/* A repeat promises what its first promised. */
	if (!(answer->flags & COMPLETION_DEDUPED) && catalogue_config(now, slot, numbers.id, &config) == ERR_OK)
		request->durability = config.durability;
	topic_learn(oracle, numbers.id, request->name)->classes |= 1u << request->durability;
}

/* The log has one entry for a put and for a patch of a topic that is there: an answer from it calls both a put. */
static bool same_type(unsigned answered, unsigned asked)
{
	return answered == asked || (answered == REQUEST_TOPIC_PUT && asked == REQUEST_TOPIC_PATCH);
}

void sim_oracle_answer(struct sim_oracle *oracle, unsigned ring, const struct completion *completion, const struct catalogue *now)
{
	struct sim_request *request;

	if (completion->request_id == 0 || completion->request_id > oracle->count) {
		sim_wrong(oracle, FIGURE_OTHER, "an answer to request %llu, which nobody made", (unsigned long long)completion->request_id);
		return;
	}
	request = &oracle->requests[completion->request_id - 1];
	if (request->state != SIM_SENT || request->ring != ring || !same_type(completion->type, request->head.type)) {
		sim_wrong(oracle, FIGURE_OTHER, "request %llu is answered twice, or on another ring",
		          (unsigned long long)completion->request_id);
		return;
	}
	request->state = SIM_ANSWERED;
	request->answer = *completion;
	if (completion->status != ERR_OK)
		return;
	if (completion->topic != 0) {
		struct sim_topic *topic = topic_learn(oracle, completion->topic, request->name);
		topic->seen_head = larger(topic->seen_head, completion->head);
		topic->seen_durable = larger(topic->seen_durable, completion->durable);
		if (request->head.type == REQUEST_TOPIC_PUT)
			topic->classes |= 1u << request->config.durability;
	}
	check_ack(oracle, request, now);
}

/* ---- one topic ---- */

/* Every seq in (0, head] is delivered or in one loss, and none is both. */
static void judge_coverage(struct sim_oracle *oracle, const struct sim_found *found)
{
	uint64_t next = 1, delivered = 0, payload = 0, earliest = found->numbers.head + 1;
	unsigned run = 0, loss = 0;
	const char *name = sim_names[found->name];

	while (run < found->run_count || loss < found->loss_count) {
		bool is_loss = run == found->run_count || (loss < found->loss_count && found->losses[loss].from < found->runs[run].first);
		uint64_t from = is_loss ? found->losses[loss].from : found->runs[run].first;
		uint64_t to = is_loss ? found->losses[loss].to : found->runs[run].first + found->runs[run].count - 1;
		if (from > next)
			sim_wrong(oracle, FIGURE_SILENT_GAP, "%s: seqs %llu to %llu are missing and not announced", name,
			          (unsigned long long)next,
			          (unsigned long long)from - 1);
		if (from < next)
			sim_wrong(oracle, FIGURE_FALSE_TOMBSTONE, "%s: seq %llu is both delivered and announced, or announced twice", name,
			          (unsigned long long)from);
		if (!is_loss) {
			if (delivered == 0)
				earliest = from;
			delivered += to - from + 1;
			payload += found->runs[run].payload;
		}
		next = larger(next, to + 1);
		if (is_loss)
			loss++;
		else
			run++;
	}
	if (next <= found->numbers.head)
		sim_wrong(oracle, FIGURE_SILENT_GAP, "%s: seqs %llu to head %llu are missing and not announced", name,
		          (unsigned long long)next,
		          (unsigned long long)found->numbers.head);
	if (next > found->numbers.head + 1)
		sim_wrong(oracle, FIGURE_FALSE_TOMBSTONE, "%s: records or losses up to %llu, past head %llu", name,
		          (unsigned long long)next - 1,
		          (unsigned long long)found->numbers.head);
	if (found->numbers.count != delivered || found->numbers.bytes != payload || found->numbers.earliest != earliest ||
	    found->numbers.floor != 0)
		sim_wrong(oracle, FIGURE_OTHER,
		          "%s: %llu records, %llu bytes from %llu (floor %llu), but the catalogue says %llu, %llu, %llu", name,
		          (unsigned long long)delivered, (unsigned long long)payload, (unsigned long long)earliest,
		    (unsigned long long)found->numbers.floor,
		          (unsigned long long)found->numbers.count, (unsigned long long)found->numbers.bytes,
		    (unsigned long long)found->numbers.earliest);
	if (found->numbers.durable > found->numbers.head)
		sim_wrong(oracle, FIGURE_OTHER, "%s: durable is past the head", name);
}

/* May a loss be announced that was not before? */
static bool loss_allowed(const struct sim_oracle *oracle, const struct sim_found *found, const struct sim_topic *known,
                         const struct loss *loss,
                         enum sim_crash crash)
{
	if (oracle->faults && loss->reason == REASON_IO_ERROR)
		return true;
	if (crash < CRASH_ALL)
		return false;
	if (loss->reason == REASON_RESTART)
		return known == NULL || (known->classes & 1u << DURABILITY_EPHEMERAL) || found->config.durability == DURABILITY_EPHEMERAL;
	if (crash < CRASH_POWER || loss->reason != REASON_CRASH)
		return false;
	/* What an fsync topic has shown was synced; a hole in it lies between what nobody saw. */
	if (found->config.durability == DURABILITY_FSYNC && (known == NULL || known->classes == 1u << DURABILITY_FSYNC))
		return loss->to < found->numbers.head && (known == NULL || loss->from > known->seen_head);
	return known == NULL || loss->from > known->seen_durable;
}

static bool loss_known(const struct loss *losses, unsigned count, const struct loss *loss)
{
	for (unsigned i = 0; i < count; i++)
		if (losses[i].from == loss->from && losses[i].to == loss->to && losses[i].reason == loss->reason &&
		    losses[i].flags == loss->flags)
			return true;
	return false;
}

static void judge_losses(struct sim_oracle *oracle, const struct sim_found *found, enum sim_crash crash)
{
	const struct sim_topic *known = topic_known(oracle, found->id);
	const char *name = sim_names[found->name];

	for (unsigned i = 0; i < found->loss_count; i++) {
		const struct loss *loss = &found->losses[i];
		if ((known == NULL || !loss_known(known->losses, known->losses_count, loss)) &&
		    !loss_allowed(oracle, found, known, loss, crash))
			sim_wrong(oracle, FIGURE_FALSE_TOMBSTONE,
			          "%s: loss of %llu to %llu, reason %u, flags %u, after %s (seen head %llu, durable %llu)", name,
			          (unsigned long long)loss->from, (unsigned long long)loss->to, loss->reason, loss->flags,
			    sim_crash_names[crash],
			          (unsigned long long)(known != NULL ? known->seen_head : 0),
			    (unsigned long long)(known != NULL ? known->seen_durable : 0));
	}
	for (unsigned i = 0; known != NULL && i < known->losses_count; i++)
		if (!loss_known(found->losses, found->loss_count, &known->losses[i]))
			sim_wrong(oracle, FIGURE_OTHER, "%s: the loss of %llu to %llu is forgotten or changed", name,
			          (unsigned long long)known->losses[i].from,
			          (unsigned long long)known->losses[i].to);
	if (known != NULL && found->numbers.head < known->seen_head)
		sim_wrong(oracle, FIGURE_REUSED_SEQ, "%s: head %llu, but %llu was seen", name, (unsigned long long)found->numbers.head,
		          (unsigned long long)known->seen_head);
}

/* Every batch found is one that somebody may have written, once. */
static void judge_runs(struct sim_oracle *oracle, const struct sim_found *found)
{
	for (unsigned i = 0; i < found->run_count; i++) {
		const struct sim_run *run = &found->runs[i];
		bool may = run->request == SIM_NO_REQUEST;
		for (unsigned k = 0; k < i; k++)
			if (run->request != SIM_NO_REQUEST && found->runs[k].request == run->request)
				sim_wrong(oracle, FIGURE_OTHER, "%s: request %d is applied at %llu and %llu", sim_names[found->name],
				          run->request + 1,
				          (unsigned long long)found->runs[k].first, (unsigned long long)run->first);
		for (int r = 0; r < (int)oracle->count; r++) {
			const struct sim_request *request = &oracle->requests[r];
			if (request->head.type != REQUEST_APPEND || root_of(oracle, r) != run->request)
				continue;
			if (unknown(request) ||
			    (acked(request) && request->answer.topic == found->id && request->answer.first_seq == run->first))
				may = true;
		}
		if (!may)
			sim_wrong(oracle, FIGURE_OTHER, "%s: request %d was refused or is elsewhere, and stands at %llu",
			          sim_names[found->name], run->request + 1,
			          (unsigned long long)run->first);
	}
}

/* The class that an ack stands for: of a repeat, that of the batch which it points at. */
static enum durability promised(const struct sim_oracle *oracle, int r)
{
	const struct sim_request *request = &oracle->requests[r];

	if (!(request->answer.flags & COMPLETION_DEDUPED))
		return request->durability;
	for (unsigned i = 0; i < oracle->count; i++) {
		const struct sim_request *other = &oracle->requests[i];
		if (acked(other) && !(other->answer.flags & COMPLETION_DEDUPED) && other->answer.topic == request->answer.topic &&
		    other->answer.first_seq == request->answer.first_seq)
			return other->durability;
	}
	return oracle->requests[root_of(oracle, r)].durability;
}

static void judge_ack(struct sim_oracle *oracle, const struct sim_found *found, int r, enum sim_crash crash)
{
	struct sim_request *request = &oracle->requests[r];
	const struct sim_topic *known = topic_known(oracle, found->id);
	uint64_t first = request->answer.first_seq, last = first + request->answer.count - 1;
	enum durability durability = promised(oracle, r);
	bool ephemeral = durability == DURABILITY_EPHEMERAL;
	bool must = crash < CRASH_ALL || (crash == CRASH_ALL && !ephemeral) || durability == DURABILITY_FSYNC ||
	            (!ephemeral && known != NULL && last <= known->seen_durable);

	for (unsigned i = 0; i < found->run_count; i++) {
		const struct sim_run *run = &found->runs[i];
		if (run->first == first && run->count == request->answer.count && run->request == root_of(oracle, r))
			return;
		if (run->first <= last && run->first + run->count > first)
			sim_wrong(oracle, FIGURE_REUSED_SEQ, "%s: seqs %llu to %llu were request %d's and are request %d's",
			          sim_names[found->name],
			          (unsigned long long)first, (unsigned long long)last, r + 1, run->request + 1);
	}
	if (must && !request->lost)
		sim_wrong(oracle, FIGURE_ACKED_LOSS, "%s: request %d (class %d, seqs %llu to %llu) is gone after %s",
		          sim_names[found->name], r + 1,
		          durability, (unsigned long long)first, (unsigned long long)last, sim_crash_names[crash]);
	if (found->numbers.head < last)
		sim_wrong(oracle, FIGURE_REUSED_SEQ, "%s: head %llu, but seq %llu was acked", sim_names[found->name],
		          (unsigned long long)found->numbers.head,
		          (unsigned long long)last);
	request->lost = true;
}

/* ---- one name: which lives of the topic do the answers allow? ---- */

struct life { bool there; uint64_t id; struct topic_config config; };
enum { LIVES = 256 };
struct lives { struct life at[LIVES]; unsigned count; };

static void life_add(struct lives *lives, const struct life *life)
{
	for (unsigned i = 0; i < lives->count; i++)
		if (lives->at[i].there == life->there &&
		    (!life->there || (lives->at[i].id == life->id && topic_config_equal(&lives->at[i].config, &life->config))))
			return;
	if (lives->count < LIVES)
		lives->at[lives->count++] = *life;
}

/* What the request makes of a life when it is done: false if it could not have been. Done for sure: its answer says more. */
static bool live_on(const struct sim_request *request, const struct life *before, struct life *after)
{
	const struct completion *answer = acked(request) ? &request->answer : NULL;
	bool created = !before->there, makes = request->head.type == REQUEST_APPEND || request->head.type == REQUEST_TOPIC_PUT;

	*after = *before;
	if (request->head.type == REQUEST_TOPIC_DELETE) {
		after->there = false;
		return answer == NULL || (answer->first_seq != 0) == before->there;
	}
	if (!before->there && !makes)
		return false;
	after->there = true;
	if (created) {
		after->id = 0;
		after->config = request->config;
	} else if (request->head.type == REQUEST_TOPIC_PUT) {
		after->config = request->config;
	} else if (request->head.type == REQUEST_TOPIC_PATCH) {
		topic_config_merge(&after->config, &request->config, request->head.mask);
	}
	if (answer == NULL)
		return true;
	if (((answer->flags & COMPLETION_CREATED) != 0) != created || (after->id != 0 && after->id != answer->topic))
		return false;
	after->id = answer->topic;
	return true;
}

static void judge_name(struct sim_oracle *oracle, unsigned name, const struct sim_found *found)
{
	struct lives *lives = calloc(1, sizeof *lives), *next = calloc(1, sizeof *next), *swap;
	bool match = false;

	life_add(lives, &(struct life){ .there = false });
	for (unsigned r = 0; r < oracle->count; r++) {
		const struct sim_request *request = &oracle->requests[r];
		if (request->name != name || !(acked(request) || unknown(request)))
			continue;
		next->count = 0;
		for (unsigned i = 0; i < lives->count; i++) {
			struct life after;
			if (unknown(request))
				life_add(next, &lives->at[i]);
			if (live_on(request, &lives->at[i], &after))
				life_add(next, &after);
		}
		swap = lives, lives = next, next = swap;
	}
	for (unsigned i = 0; i < lives->count && !match; i++) {
		const struct life *life = &lives->at[i];
		match = life->there == (found != NULL) &&
		    (!life->there || ((life->id == found->id || life->id == 0) && topic_config_equal(&life->config, &found->config)));
	}
	if (!match)
		sim_wrong(oracle, FIGURE_OTHER, "%s: %s, which contradicts the answers (%u lives possible)", sim_names[name],
		          found == NULL ? "not there" : "there with another epoch or configuration", lives->count);
	free(lives);
	free(next);
}

/* ---- all ---- */

static char *listing(const struct sim_view *view)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	for (unsigned i = 0; i < view->count; i++) {
		const struct sim_found *found = &view->topics[i];
		fprintf(out, "%s %016llx class %d priority %d lease %llu head %llu count %llu bytes %llu earliest %llu\n",
		        sim_names[found->name],
		        (unsigned long long)found->id, found->config.durability, found->config.priority,
		    (unsigned long long)found->config.lease_ms,
		        (unsigned long long)found->numbers.head, (unsigned long long)found->numbers.count,
		    (unsigned long long)found->numbers.bytes,
		        (unsigned long long)found->numbers.earliest);
		for (unsigned k = 0; k < found->run_count; k++)
			fprintf(out, "  %llu..%llu request %d\n", (unsigned long long)found->runs[k].first,
			        (unsigned long long)(found->runs[k].first + found->runs[k].count - 1), found->runs[k].request + 1);
		for (unsigned k = 0; k < found->loss_count; k++)
			fprintf(out, "  lost %llu..%llu reason %u flags %u\n", (unsigned long long)found->losses[k].from,
			        (unsigned long long)found->losses[k].to,
			        found->losses[k].reason, found->losses[k].flags);
	}
	fclose(out);
	return text;
}

void sim_oracle_judge_partial(struct sim_oracle *oracle, const struct catalogue *now, const struct ops *files, const struct ops *platter)
{
	struct sim_view view;

	sim_read(oracle, now, files, platter, &view);
	for (unsigned i = 0; i < view.count; i++)
		judge_coverage(oracle, &view.topics[i]);
}

void sim_oracle_judge(struct sim_oracle *oracle, const struct catalogue *now, const struct ops *files, enum sim_crash crash, char **text)
{
	struct sim_view view;
	const struct sim_found *by_name[SIM_NAMES] = { NULL };

	sim_read(oracle, now, files, files, &view);
	for (unsigned i = 0; i < view.count; i++) {
		const struct sim_found *found = &view.topics[i];
		by_name[found->name] = found;
		judge_coverage(oracle, found);
		judge_losses(oracle, found, crash);
		judge_runs(oracle, found);
		for (int r = 0; r < (int)oracle->count; r++)
			if (oracle->requests[r].head.type == REQUEST_APPEND && acked(&oracle->requests[r]) &&
			    oracle->requests[r].answer.topic == found->id)
				judge_ack(oracle, found, r, crash);
	}
	for (unsigned name = 0; name < SIM_NAMES; name++)
		judge_name(oracle, name, by_name[name]);
	if (text != NULL)
		*text = listing(&view);
	sim_oracle_look(oracle, now);
}
