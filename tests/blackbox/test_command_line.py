#!/usr/bin/env python3
"""topicsd on the command line: what it says, what it refuses, and that it has touched nothing then."""

import os
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness import cases  # noqa: E402
from harness.cases import case, same, truth  # noqa: E402
from harness.server import Server, topicsd_path  # noqa: E402

# Every number of the contract with the range that it is refused with.
NUMBERS = {"TOPICS_PORT": (0, 65535), "TOPICS_WORKERS": (1, 64), "TOPICS_MAX_BODY_BYTES": (1, 256 << 20), "TOPICS_MAX_BATCH_RECORDS": (1, 1000000),
           "TOPICS_MAX_RECORD_BYTES": (1, 256 << 20), "TOPICS_MAX_META_BYTES": (2, 16 << 20), "TOPICS_MAX_TAG_BYTES": (1, 65535),
           "TOPICS_MAX_NODE_BYTES": (1, 65535), "TOPICS_MAX_LIMIT": (1, 100000), "TOPICS_MAX_CLAIM": (1, 100000), "TOPICS_MAX_WATCH_TOPICS": (1, 65536),
           "TOPICS_MAX_TOPICS": (0, 2 ** 64 - 1), "TOPICS_MAX_ROUTERS": (0, 2 ** 64 - 1), "TOPICS_MAX_WATCH_SESSIONS": (0, 2 ** 64 - 1),
           "TOPICS_MAX_SSE_CONNECTIONS": (0, 2 ** 64 - 1), "TOPICS_MAX_SSE_CONNECTIONS_PER_KEY": (0, 2 ** 64 - 1),
           "TOPICS_MAX_INFLIGHT_PER_KEY": (0, 2 ** 64 - 1), "TOPICS_MAX_TOTAL_BYTES": (0, 2 ** 64 - 1), "TOPICS_SYNC_INTERVAL_MS": (1, 3600000),
           "TOPICS_EPHEMERAL_MAX_BYTES": (1 << 20, 1 << 40), "TOPICS_DRAIN_MS": (100, 3600000), "TOPICS_SEGMENT_MAX_BYTES": (4096, 16 << 30)}
SWITCHES = ("TOPICS_PROBE_AUTH", "TOPICS_ALLOW_INSECURE_NO_AUTH")
TEXTS = ("TOPICS_HOST", "TOPICS_PORT_FILE", "TOPICS_DATA_DIR", "TOPICS_USER")


class Place:
    """A directory in which topicsd may not make anything when it refuses."""

    def __init__(self):
        self.root = tempfile.mkdtemp(prefix="topics-line-")
        self.data = os.path.join(self.root, "data")

    def run(self, *arguments, **settings):
        env = {k: v for k, v in os.environ.items() if not k.startswith("TOPICS_")}
        env.update({"TOPICS_DATA_DIR": self.data, "TOPICS_PORT_FILE": os.path.join(self.root, "port")}, **settings)
        return subprocess.run([topicsd_path()] + list(arguments), env=env, cwd=self.root, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=20)

    def refused(self, words, *arguments, **settings):
        done = self.run(*arguments, **settings)
        text = done.stderr.decode()
        same((done.returncode, done.stdout, os.listdir(self.root)), (2, b"", []), "%r %r: %s" % (arguments, settings, text))
        same((text.startswith("topicsd: "), text.count("\n")), (True, 1), "one line of %r" % text)
        for word in words:
            truth(word in text, "%r in %r" % (word, text))
        return text


@case
def help_names_every_setting_with_its_default(place):
    done = place.run("--help")
    text = done.stdout.decode()
    same((done.returncode, done.stderr), (0, b""), "status")
    for name in list(NUMBERS) + list(SWITCHES) + list(TEXTS):
        truth(re.search(r"\b%s\b" % name, text), name + " in --help")
        truth("--%s=" % name[len("TOPICS_"):].lower().replace("_", "-") in text, "the option of " + name)
    for word in ("-t ", "--version", "Exit status", "(67108864)", "(4000)", "127.0.0.1", "./topics-data"):
        truth(word in text, word + " in --help")
    same(place.run("-h").stdout, done.stdout, "-h")
    same(os.listdir(place.root), [], "what was made")


@case
def version_is_one_line(place):
    done = place.run("--version")
    same((done.returncode, done.stderr), (0, b""), "status")
    truth(re.fullmatch(rb"topicsd \d+\.\d+\.\d+\n", done.stdout), "version %r" % done.stdout)
    same(place.run("-V").stdout, done.stdout, "-V")


@case
def check_of_good_settings_says_them_and_touches_nothing(place):
    done = place.run("-t", "--port=4321", "--workers", "3")
    same((done.returncode, done.stderr, os.listdir(place.root)), (0, b"", []), "status")
    for word in (b"127.0.0.1:4321", place.data.encode(), b"3 workers"):
        truth(word in done.stdout, "%r in %r" % (word, done.stdout))


@case
def check_of_bad_settings_refuses_like_a_start(place):
    place.refused(["TOPICS_WORKERS", "between 1 and 64"], "-t", TOPICS_WORKERS="65")


@case
def unknown_option_is_refused_by_name(place):
    for option in ("--nonsense", "--nonsense=1", "-x", "orders", "--por=1"):
        place.refused([option, "--help"], option)
    place.refused(["--port", "value"], "--port")


@case
def bad_value_of_every_number_is_refused_with_its_name_and_range(place):
    for name, (least, most) in NUMBERS.items():
        bad = ["", "x", "-1", "1.5", "1k", str(most + 1)] + ([str(least - 1)] if least else [])
        for value in bad:
            place.refused([name, "between %d and %d" % (least, most), "'%s'" % value], **{name: value})
        option = "--" + name[len("TOPICS_"):].lower().replace("_", "-")
        place.refused([option, "between %d and %d" % (least, most)], option + "=x")


@case
def bad_value_of_every_switch_is_refused_with_the_words_that_it_takes(place):
    for name in SWITCHES:
        for value in ("", "yes", "2", "TRUE"):
            place.refused([name, "1, true, 0 or false"], **{name: value})


@case
def bad_texts_are_refused(place):
    place.refused(["TOPICS_DATA_DIR is too long"], TOPICS_DATA_DIR="x" * 5000)
    place.refused(["TOPICS_DATA_DIR"], TOPICS_DATA_DIR="")
    place.refused(["TOPICS_PORT_FILE is too long"], TOPICS_PORT_FILE="x" * 5000)


@case
def keys_are_refused_while_there_are_none_and_not_repeated(place):
    text = place.refused(["TOPICS_API_KEYS"], TOPICS_API_KEYS="s3cret:rw")
    truth("s3cret" not in text, "the key in %r" % text)
    place.refused(["TOPICS_API_KEYS"], TOPICS_API_KEYS="s3cret:rw", TOPICS_HOST="0.0.0.0", TOPICS_ALLOW_INSECURE_NO_AUTH="1")


@case
def open_bind_is_refused_and_says_how_it_is_meant(place):
    for host in ("0.0.0.0", "::", "192.0.2.7", "example.org"):
        place.refused([host, "TOPICS_ALLOW_INSECURE_NO_AUTH=1"], TOPICS_HOST=host)
        place.refused([host], "--host=" + host, TOPICS_ALLOW_INSECURE_NO_AUTH="0")


@case
def unknown_variable_is_a_warning_with_its_name_and_no_more(place):
    done = place.run("-t", TOPICS_NONSENSE="1", TOPICS_PORTS="2", UNRELATED="3")
    text = done.stderr.decode()
    same((done.returncode, text.count("\n")), (0, 2), "status and lines of %r" % text)
    for name in ("TOPICS_NONSENSE", "TOPICS_PORTS"):
        truth("warning: %s " % name in text, name)
    truth("UNRELATED" not in text, "only ours")


@case
def held_data_directory_is_refused_by_the_name_of_its_holder_in_time(place):
    server = Server().start()
    try:
        # It waits two seconds at most for a holder that is leaving; a run that takes much longer is cut off.
        done = place.run(TOPICS_DATA_DIR=server.data, TOPICS_PORT="0")
        text = done.stderr.decode()
        same((done.returncode, os.listdir(place.root)), (1, []), "status of %r" % text)
        for word in ("process %d)" % server.process.pid, server.data):
            truth(word in text, "%r in %r" % (word, text))
        same(server.call("GET", "/v0/ready").status, 200, "the holder")
    finally:
        server.close()


@case
def port_in_use_is_refused_by_name(place):
    server = Server().start()
    try:
        done = place.run(TOPICS_PORT=str(server.port))
        same(done.returncode, 1, "status")
        truth(("127.0.0.1:%d" % server.port).encode() in done.stderr, "message %r" % done.stderr)
        truth(not os.path.exists(os.path.join(place.root, "port")), "no port file")
    finally:
        server.close()
        shutil.rmtree(place.data)


if __name__ == "__main__":
    sys.exit(cases.main(Place, lambda place: shutil.rmtree(place.root)))
