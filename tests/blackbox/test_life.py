#!/usr/bin/env python3
"""Settings, start, stop, lock, restarts."""

import os
import resource
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness import cases  # noqa: E402
from harness.cases import case, same, truth  # noqa: E402
from harness.server import Server, send, topicsd_path, until  # noqa: E402


def run(*arguments, **settings):
    env = {k: v for k, v in os.environ.items() if not k.startswith("TOPICS_")}
    env.update(settings)
    return subprocess.run([topicsd_path()] + list(arguments), env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20)


def with_server(body, **settings):
    server = Server(settings=settings).start()
    try:
        body(server)
    finally:
        server.close()


@case
def bad_settings_are_refused_before_anything_is_touched(_):
    root = tempfile.mkdtemp()
    where = os.path.join(root, "data")
    for settings in ({"TOPICS_PORT": "70000"}, {"TOPICS_PORT": "x"}, {"TOPICS_WORKERS": "0"}, {"TOPICS_MAX_BODY_BYTES": "-1"}, {"TOPICS_SYNC_INTERVAL_MS": "1s"}, {"TOPICS_PROBE_AUTH": "yes"},
                     {"TOPICS_API_KEYS": "secret"}, {"TOPICS_HOST": "0.0.0.0"}, {"TOPICS_SEGMENT_MAX_BYTES": "4095"}, {"TOPICS_MAX_TOPICS": ""}):
        done = run(TOPICS_DATA_DIR=where, **settings)
        same(done.returncode, 2, "status with %r" % settings)
        truth(done.stdout.startswith(b"topicsd: ") and b"secret" not in done.stdout, "message %r" % done.stdout)
    for argument in ("--nonsense", "--port", "--port=x", "x"):
        same(run(argument, TOPICS_DATA_DIR=where).returncode, 2, "status with " + argument)
    truth(not os.path.exists(where), "nothing was touched")


@case
def help_version_and_check_say_what_there_is(_):
    text = run("--help").stdout.decode()
    for name in ("--max-body-bytes", "TOPICS_SYNC_INTERVAL_MS", "--segment-max-bytes", "Exit status"):
        truth(name in text, name + " in --help")
    same(run("--version").stdout.split()[0], b"topicsd", "version")
    done = run("-t", "--port=4321", TOPICS_PORT="5", TOPICS_NONSENSE="1")
    truth(done.returncode == 0 and b"4321" in done.stdout and b"TOPICS_NONSENSE" in done.stdout, "check %r" % done.stdout)


@case
def an_open_bind_is_possible_when_it_is_meant(_):
    with_server(lambda s: same(s.call("GET", "/v0/health").status, 200, "status"), TOPICS_HOST="0.0.0.0", TOPICS_ALLOW_INSECURE_NO_AUTH="1")


@case
def a_second_server_names_the_holder_and_refuses(_):
    def body(s):
        done = run(TOPICS_DATA_DIR=s.data, TOPICS_PORT="0")
        same(done.returncode, 1, "status")
        truth(str(s.process.pid).encode() in done.stdout, "holder in %r" % done.stdout)
        same(s.call("GET", "/v0/ready").status, 200, "the first goes on")
    with_server(body)


@case
def an_orderly_stop_keeps_heads_configurations_and_records(_):
    def body(s):
        for durability in ("ephemeral", "memory", "disk", "fsync"):
            s.call("PUT", "/v0/topics/" + durability, {"durability": durability, "cap_records": 99})
            for n in range(30):
                s.call("POST", "/v0/topics/" + durability, {"records": [{"data": n}], "idempotency_key": "k%d" % n})
        before = {d: s.call("GET", "/v0/topics/" + d).json for d in ("ephemeral", "memory", "disk", "fsync")}
        for _ in range(3):
            same(s.stop(), 0, "exit status")
            s.start()
            for name, was in before.items():
                now = s.call("GET", "/v0/topics/" + name).json
                same((now["head_seq"], now["config"], now["epoch"]), (was["head_seq"], was["config"], was["epoch"]), name)
                page = s.call("POST", "/v0/topics/%s/diff" % name, {"limit": 100}).json
                if name == "ephemeral":
                    same((page["tombstone"]["reason"], page["tombstone"]["gap_to"], now["count"]), ("restart", 30, 0), "ephemeral")
                else:
                    same(([r["data"] for r in page["records"]], page["tombstone"]), (list(range(30)), None), name)
            again = s.call("POST", "/v0/topics/disk", {"records": [{"data": 0}], "idempotency_key": "k7"}).json
            same((again["deduped"], again["seqs"]), (True, [8]), "a repeat after the restart")
    with_server(body)


@case
def ephemeral_records_outlive_logd_and_workers_and_their_end_is_announced(_):
    def body(s):
        s.call("PUT", "/v0/topics/e", {"durability": "ephemeral"})
        for n in range(50):
            s.call("POST", "/v0/topics/e", {"records": [{"data": n}] * 3})
        for pick in (s.logd, lambda: s.workers()[0], s.logd):
            victim = pick()
            os.kill(victim, signal.SIGKILL)
            until(lambda: not os.path.exists("/proc/%d" % victim), what="its death")
            s.wait_ready()
            page = s.call("POST", "/v0/topics/e/diff", {"limit": 1000}).json
            same((len(page["records"]), page["tombstone"]), (150, None), "records")
        s.kill_all()
        s.start()
        page = s.call("POST", "/v0/topics/e/diff", {}).json
        same((page["tombstone"]["gap_from"], page["tombstone"]["reason"], page["records"]), (1, "restart", []), "after the daemon's end")
        truth(s.call("POST", "/v0/topics/e", {"records": [{"data": 1}]}).json["first_seq"] == page["tombstone"]["gap_to"] + 1 > 150, "numbering goes on above")
    with_server(body)


@case
def the_bound_of_the_ephemeral_log_evicts_the_oldest_and_says_so(_):
    def body(s):
        s.call("PUT", "/v0/topics/e", {"durability": "ephemeral"})
        last = 0
        for n in range(60):
            last = s.call("POST", "/v0/topics/e", {"records": [{"data": "x" * 50000}] * 2}).json["last_seq"]
        page = s.call("POST", "/v0/topics/e/diff", {"limit": 1}).json
        truth(page["tombstone"]["reason"] == "cap" and page["tombstone"]["gap_from"] == 1, "tombstone %r" % page["tombstone"])
        state = s.call("GET", "/v0/topics/e").json
        same((state["earliest_seq"], state["head_seq"], state["count"]), (page["tombstone"]["gap_to"] + 1, last, last - page["tombstone"]["gap_to"]), "state")
        same(page["records"][0]["$seq"], state["earliest_seq"], "first record")
    with_server(body, TOPICS_EPHEMERAL_MAX_BYTES=str(2 << 20), TOPICS_SEGMENT_MAX_BYTES=str(512 << 10))


@case
def death_of_the_log_process_costs_no_more_of_the_ephemeral_log_than_one_file(_):
    def body(s):
        s.call("PUT", "/v0/topics/e", {"durability": "ephemeral"})
        for _ in range(23):
            s.call("POST", "/v0/topics/e", {"records": [{"data": "x" * 700}] * 100})
        same(s.call("GET", "/v0/topics/e").json["count"], 2300, "records below the bound")
        for total in (2400, 2500):
            earliest, victim = s.call("GET", "/v0/topics/e").json["earliest_seq"], s.logd()
            os.kill(victim, signal.SIGKILL)
            until(lambda: not os.path.exists("/proc/%d" % victim), what="its death")
            s.wait_ready()
            same(s.call("POST", "/v0/topics/e", {"records": [{"data": "x" * 700}] * 100}).json["last_seq"], total, "last_seq")
            state = s.call("GET", "/v0/topics/e").json
            truth(state["earliest_seq"] - earliest <= (512 << 10) // 700, "of records %d to %d those from %d are left" % (earliest, total, state["earliest_seq"]))
            same(state["count"], total + 1 - state["earliest_seq"], "count")
    with_server(body, TOPICS_EPHEMERAL_MAX_BYTES=str(2 << 20))


def ephemeral_objects(pid):
    """Of one process: how many descriptors lead to objects of the ephemeral log, and the bytes of memory by inode."""
    count, memory = 0, {}
    for fd in os.listdir("/proc/%d/fd" % pid):
        path = "/proc/%d/fd/%s" % (pid, fd)
        try:
            if os.readlink(path).startswith("/memfd:topics-ephemeral"):
                facts = os.stat(path)
                count += 1
                memory[facts.st_ino] = facts.st_blocks * 512
        except FileNotFoundError:
            pass  # closed meanwhile
    return count, memory


@case
def records_past_the_bound_of_the_ephemeral_log_leave_no_memory_and_no_descriptor_behind(_):
    def body(s):
        s.call("PUT", "/v0/topics/e", {"durability": "ephemeral"})
        for _ in range(150):
            last = s.call("POST", "/v0/topics/e", {"records": [{"data": "x" * 50000}] * 2}).json["last_seq"]
            same(len(s.call("POST", "/v0/topics/e/diff", {"from_seq": last - 1, "limit": 1}).json["records"]), 1, "what was written last")

        # Four files of 512 KiB, and two objects that lie ready; the messages about what went may be on their way.
        def bounded():
            held = [ephemeral_objects(pid) for pid in [s.process.pid, s.logd()] + s.workers()]
            memory = {inode: size for _, of_one in held for inode, size in of_one.items()}
            seen.append(([count for count, _ in held], sum(memory.values())))
            return max(seen[-1][0]) <= 6 and seen[-1][1] <= 2 << 20
        seen = []
        try:
            until(bounded, 5, "the bound of memory and descriptors")
        except AssertionError as error:
            raise AssertionError("%s: descriptors of each process, and bytes: %r" % (error, seen[-1]))
        truth(seen[-1][0][0] >= 6 and seen[-1][1] > 1 << 20, "what is there is found: %r" % seen[-1:])
    with_server(body, TOPICS_EPHEMERAL_MAX_BYTES=str(2 << 20), TOPICS_SEGMENT_MAX_BYTES=str(512 << 10))


@case
def without_a_bound_no_ephemeral_record_goes(_):
    def body(s):
        s.call("PUT", "/v0/topics/e", {"durability": "ephemeral"})
        for n in range(60):
            last = s.call("POST", "/v0/topics/e", {"records": [{"data": "x" * 50000}] * 2}).json["last_seq"]
        page = s.call("POST", "/v0/topics/e/diff", {"limit": 1}).json
        state = s.call("GET", "/v0/topics/e").json
        same((page["tombstone"], page["records"][0]["$seq"], state["earliest_seq"], state["count"], last), (None, 1, 1, 120, 120), "everything is there")
    with_server(body, TOPICS_EPHEMERAL_MAX_BYTES="0", TOPICS_SEGMENT_MAX_BYTES=str(512 << 10))


@case
def without_a_bound_of_bytes_the_number_of_files_is_one(_):
    """Each file is a descriptor in every process."""
    def body(s):
        s.call("PUT", "/v0/topics/e", {"durability": "ephemeral"})
        link = s.link()
        for _ in range(2100):
            last = send(link, "POST", "/v0/topics/e", {"records": [{"data": "x" * 3000}]}, None, None).json["last_seq"]
        link.close()
        for _ in range(2):
            state = s.call("GET", "/v0/topics/e").json
            truth(2000 <= state["count"] <= 2048, "%d records are left" % state["count"])
            same(s.call("POST", "/v0/topics/e/diff", {"limit": 1}).json["tombstone"]["reason"], "cap", "reason")
            victim = s.logd()
            os.kill(victim, signal.SIGKILL)
            until(lambda: not os.path.exists("/proc/%d" % victim), what="its death")
            s.wait_ready()
            same(s.call("POST", "/v0/topics/e", {"records": [{"data": 1}]}).json["last_seq"], last + 1, "last_seq")
            last += 1
    with_server(body, TOPICS_EPHEMERAL_MAX_BYTES="0", TOPICS_SEGMENT_MAX_BYTES="4096")


@case
def a_supervisor_without_descriptors_holds_writes_up_until_it_gets_some(_):
    def body(s):
        most = resource.prlimit(s.process.pid, resource.RLIMIT_NOFILE)
        same(most[0], most[1], "the soft limit is the hard one")
        with open("/proc/%d/limits" % s.logd()) as f:
            same([line.split()[3:5] for line in f if line.startswith("Max open files")], [[str(most[0]), str(most[1])]], "limits of the log process")
        s.call("PUT", "/v0/topics/e", {"durability": "ephemeral"})
        s.call("PUT", "/v0/topics/d", {"durability": "disk"})
        resource.prlimit(s.process.pid, resource.RLIMIT_NOFILE, (12, most[1]))
        for _ in range(40):
            answer = s.call("POST", "/v0/topics/e", {"records": [{"data": "x" * 50000}] * 2})
            if answer.status != 200:
                break
        same((answer.status, answer.code), (503, "commit_unknown"), "a write for which there is no object")
        with open(s.log_path, "rb") as f:
            same(f.read().count(b"no object for the ephemeral log"), 1, "lines about it")
        resource.prlimit(s.process.pid, resource.RLIMIT_NOFILE, most)
        for topic in "de":
            until(lambda: s.call("POST", "/v0/topics/" + topic, {"records": [{"data": 1}]}).status == 200, 4, "a write to " + topic)
    with_server(body, TOPICS_EPHEMERAL_MAX_BYTES=str(2 << 20), TOPICS_WORKERS="1")


@case
def as_many_topics_as_the_limit_and_no_more(_):
    def body(s):
        for n in range(5):
            same(s.call("POST", "/v0/topics/t%d" % n, {"records": [{"data": 1}]}).status, 201, "topic %d" % n)
        for answer in (s.call("POST", "/v0/topics/t5", {"records": [{"data": 1}]}), s.call("PUT", "/v0/topics/t5", {})):
            same((answer.status, answer.code, answer.json["error"]["detail"]["limit"]), (429, "throttled", "max_topics"), "one more")
            truth(int(answer.headers["retry-after"]) >= 1, "Retry-After")
        same(s.call("POST", "/v0/topics/t0", {"records": [{"data": 1}]}).status, 200, "an old one")
        s.call("DELETE", "/v0/topics/t0")
        same(s.call("PUT", "/v0/topics/t5", {}).status, 201, "after a deletion")
    with_server(body, TOPICS_MAX_TOPICS="5")


@case
def large_batches_pass_through_the_large_area_and_files_of_their_own(_):
    def body(s):
        for size in (900000, 1 << 20):
            answer = s.call("POST", "/v0/topics/big", {"records": [{"data": "y" * (size - 2)}] * 12})
            truth(answer.status in (200, 201), "status %r" % answer)
        os.kill(s.logd(), signal.SIGKILL)
        s.wait_ready()
        page = s.call("POST", "/v0/topics/big/diff", {"max_batch_bytes": 8 << 20}).json
        same(len(page["records"]), 9, "records of a page of 8 MiB")
        same(s.call("GET", "/v0/topics/big/records/24").json["data"], "y" * ((1 << 20) - 2), "the last one")
    with_server(body, TOPICS_SEGMENT_MAX_BYTES="65536")


@case
def a_stopped_logd_leads_to_commit_unknown_and_then_to_one_write(_):
    def body(s):
        s.call("PUT", "/v0/topics/a", {})
        logd = s.logd()
        os.kill(logd, signal.SIGSTOP)
        answer = s.call("POST", "/v0/topics/a", {"records": [{"data": 1}], "idempotency_key": "k"})
        same((answer.status, answer.code), (503, "commit_unknown"), "answer")
        truth(int(answer.headers["retry-after"]) >= 1, "Retry-After")
        same(s.call("POST", "/v0/topics/a/diff", {}).status, 200, "reads go on")
        os.kill(logd, signal.SIGCONT)
        again = s.call("POST", "/v0/topics/a", {"records": [{"data": 1}], "idempotency_key": "k"}).json
        same((again["seqs"], again["head_seq"]), ([1], 1), "one write")
    with_server(body)


if __name__ == "__main__":
    sys.exit(cases.main(lambda: None))
