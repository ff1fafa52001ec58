#!/usr/bin/env python3
"""kill -9 under load, with an oracle that remembers every ack with its bytes.

    kills.py [--kills N] [--seed S] [--failpoints]

Writers append batches of 1, 7, 100 and 1,000 records to topics of all classes (some with idempotency keys), others create, change and delete topics; the log's files are small, so that it
rolls meanwhile. Each round kills one kind of process (or several, or all, or dies at a named failpoint), then everything is read back and judged. The independent reader of the log
format looks at the image of the rounds in which the whole daemon died.
"""

import argparse
import http.client
import json
import os
import random
import subprocess
import signal
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, ".."))
from harness.server import Server, send, until  # noqa: E402
from kills.oracle import Topic, Verdict, digest, judge, read_all  # noqa: E402

try:
    import logreader
    LOGREADER = True
except ImportError:
    LOGREADER = False

CLASSES = ("ephemeral", "memory", "disk", "fsync")
FAILPOINTS = ("after-take", "after-assign", "before-write", "after-write", "after-release", "after-publish", "after-completion", "before-sync",
              "after-sync", "roll-before-header", "roll-after-header", "recover-before-header", "recover-after-header",
              "seal-before-footer", "seal-before-cut", "seal-before-sync", "seal-after-sync", "seal-before-entry",
              "checkpoint-before-sync", "checkpoint-before-header", "checkpoint-after-header", "checkpoint-before-removal")
STOP_FAILPOINTS = ("checkpoint-before-end", "stop-before-mark")


class Load:
    """The clients of one round: they end with the round; what they know stays in the oracle's topics."""

    def __init__(self, kills):
        self.kills = kills
        self.stopping = threading.Event()
        self.threads = []
        self.problems = []
        self.answers = 0
        self.broken = 0          # connections that ended without an answer, and answers that nobody could know

    def start(self):
        jobs = [(self.write, (name,)) for name in self.kills.topics for _ in range(1)] + [(self.configure, ())]
        for target, arguments in jobs:
            thread = threading.Thread(target=target, args=arguments, daemon=True)
            thread.start()
            self.threads.append(thread)

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(30)

    def write(self, name):
        kills, topic = self.kills, self.kills.topics[name]
        rng = random.Random("%s %s %d" % (kills.seed, name, kills.round))
        link, number = kills.server.link(timeout=15), 0
        while not self.stopping.is_set():
            number += 1
            count = rng.choice((1, 1, 7, 7, 100, 1000))
            datas = [json.dumps([name, kills.round, number, i, rng.getrandbits(48)], separators=(",", ":")).encode()
                     for i in range(count)]
            body = b'{"records":[' + b",".join(b'{"data":%s}' % d for d in datas) + b"]"
            key = "%d-%d-%s" % (kills.round, number, name) if rng.random() < 0.5 else None
            body += b',"idempotency_key":"%s"}' % key.encode() if key else b"}"
            digests = [digest(d) for d in datas]
            link = self.append(link, topic, body, digests, key)

    def append(self, link, topic, body, digests, key):
        """One batch; with a key it is repeated until its answer is known, as a careful client would."""
        for attempt in range(50):
            try:
                answer = send(link, "POST", "/v0/topics/" + topic.name, body=body, headers={"Content-Type": "application/json"})
            except (OSError, http.client.HTTPException):
                self.broken += 1
                link.close()
                if self.kills.one_shot or not key or self.stopping.is_set():
                    topic.leave_unknown(digests)
                    self.stopping.wait(0.01)
                    return self.kills.server.link(timeout=15)
                time.sleep(0.02)
                link = self.kills.server.link(timeout=15)
                continue
            if answer.status in (200, 201):
                self.answers += 1
                try:
                    topic.ack(answer.json, digests)
                except AssertionError as problem:
                    self.kills.verdict.say("reused_seqs", str(problem))
                return link
            if answer.status == 503:
                self.broken += 1
            if answer.status == 503 and answer.code == "commit_unknown" and key:
                continue
            if answer.status == 503 and answer.code == "commit_unknown":
                topic.leave_unknown(digests)
            elif answer.status != 503 and answer.status != 429:
                self.problems.append("append to %s: %r" % (topic.name, answer))
            self.stopping.wait(0.05)
            return link
        topic.leave_unknown(digests)
        return link

    def configure(self):
        """Creates, changes and deletes topics; remembers what was acked."""
        kills, rng = self.kills, random.Random("%s configure %d" % (self.kills.seed, self.kills.round))
        link = kills.server.link(timeout=15)
        while not self.stopping.is_set():
            name = "made-%d" % rng.randrange(12)
            kind = rng.choice(("PUT", "PATCH", "DELETE"))
            document = {"ttl_ms": rng.randrange(1, 10 ** 9), "durability": rng.choice(CLASSES)}
            try:
                answer = send(link, kind, "/v0/topics/" + name, None if kind == "DELETE" else document)
            except (OSError, http.client.HTTPException):
                kills.made[name] = None
                link.close()
                self.stopping.wait(0.02)
                link = kills.server.link(timeout=15)
                continue
            if answer.status in (200, 201):
                kills.made[name] = ("gone", None) if kind == "DELETE" else ("there", answer.json["config"])
            elif answer.status == 404 and kind == "PATCH":
                kills.made[name] = ("gone", None)
            else:
                kills.made[name] = None
                if answer.status != 503:
                    self.problems.append("%s %s: %r" % (kind, name, answer))
            self.stopping.wait(0.003)


class Kills:
    def __init__(self, args):
        self.args, self.seed = args, args.seed
        self.rng = random.Random(args.seed)
        self.verdict = Verdict()
        self.by_kind = {}
        self.failures = []
        self.round = 0
        self.one_shot = False
        self.logd_deaths = 0     # since the daemon's start
        self.server = None
        self.compared = 0

    def begin(self):
        self.server = Server(settings={"TOPICS_SEGMENT_MAX_BYTES": 512 * 1024, "TOPICS_WORKERS": 2, "TOPICS_EPHEMERAL_MAX_BYTES": 1 << 30}).start()
        self.topics, self.made = {}, {}
        for cls in CLASSES:
            for i in range(2):
                name = "%s-%d" % (cls, i)
                answer = self.server.call("PUT", "/v0/topics/" + name, {"durability": cls})
                self.topics[name] = Topic(name, cls, answer.json["epoch"])

    # ---- ways to die ----
    def kill(self, pid, how=signal.SIGKILL):
        try:
            os.kill(pid, how)
        except ProcessLookupError:
            pass

    def kill_worker(self):
        self.kill(self.rng.choice(self.server.workers()))

    def kill_logd(self):
        self.kill(self.server.logd())

    def abort_logd(self):
        self.kill(self.server.logd(), signal.SIGABRT)

    def kill_logd_twice(self):
        first = self.server.logd()
        self.kill(first)
        until(lambda: [p for p in self.server.pids("topics-logd") if p != first], what="the next logd")
        self.kill(self.server.logd())

    def kill_logd_and_worker(self):
        self.kill(self.server.logd())
        self.kill(self.rng.choice(self.server.workers()))

    def kill_supervisor(self):
        family = self.server.pids("")
        self.kill(self.server.process.pid)
        self.server.process.wait(20)
        until(lambda: not any(os.path.exists("/proc/%d" % p) for p in family), what="the children's leaving after their supervisor's death")

    def kill_all(self):
        self.server.kill_all()

    def stop(self):
        if self.server.stop() != 0:
            self.failures.append("round %d: an orderly stop ended with %s" % (self.round, self.server.process.returncode))

    ENDS = ("kill_supervisor", "kill_all", "stop")
    ONLY_LOGD = ("kill_logd", "abort_logd", "kill_logd_twice")  # clients see a pause and then their true answers (I-8)

    def one_round(self, kind):
        ends = kind in self.ENDS
        self.round += 1
        ended = ends or self.logd_deaths >= 3
        if self.logd_deaths >= 3:
            # From its second death within a minute on logd is started later and later, at last past the time that clients wait.
            self.stop()
            self.server.start()
            self.logd_deaths = 0
        load = Load(self)
        load.start()
        until(lambda: load.answers >= 20, 30, "twenty answers of the load")
        load.stopping.wait(self.rng.random() * 0.1)
        getattr(self, kind)()
        self.logd_deaths = 0 if ends else self.logd_deaths + {"kill_worker": 0, "kill_logd_twice": 2}.get(kind, 1)
        if ends:
            load.stop()
            self.look_at_image(kind)
            self.server.start()
        else:
            before = load.answers
            until(lambda: load.answers >= before + 20, 30, "answers after the death: " + self.server.tail(400))
            load.stop()
            if kind in self.ONLY_LOGD and load.broken:
                self.failures.append("round %d: logd alone died (%s), and %d requests got no true answer" % (self.round, kind, load.broken))
        self.judge(load, kind, ended)

    def failpoint_round(self, name):
        """Restarts with the failpoint armed; logd dies there under load (or while it starts, or stops)."""
        self.round += 1
        kind = "failpoint " + name
        deaths = self.deaths()
        if name in STOP_FAILPOINTS:
            self.server.stop()
            self.server.start(TOPICS_FAILPOINT=name + ":kill:1")
            load = Load(self)
            load.start()
            until(lambda: load.answers >= 20, 30, "twenty answers of the load")
            self.server.stop()
            load.stop()
            if self.deaths() == deaths:
                raise AssertionError("nothing died at " + name)
            self.server.start()
        else:
            load = Load(self)
            load.start()
            until(lambda: load.answers >= 20, 30, "twenty answers of the load")
            self.server.kill_all()
            load.stop()
            # logd takes the same failpoint at each of its starts: the count is what makes it get anywhere.
            count = 1 if name.startswith("recover") else 2 if name.startswith(("roll", "seal", "checkpoint")) else self.rng.randrange(20, 60)
            if name.startswith("recover"):
                self.server.spawn(TOPICS_FAILPOINT="%s:kill:%d" % (name, count))
                until(lambda: self.deaths() > deaths, 20, "a death in recovery")
                self.server.kill_all()
                self.server.start()
            else:
                self.server.start(TOPICS_FAILPOINT="%s:kill:%d" % (name, count))
                load = Load(self)
                load.start()
                until(lambda: self.deaths() > deaths, 30, "a death at " + name)
                load.stopping.wait(0.2)
                load.stop()
                self.server.kill_all()
                self.server.start()
        self.judge(load, kind, True)

    def deaths(self):
        with open(self.server.log_path, errors="replace") as log:
            return log.read().count("was ended by signal 9")

    # ---- judgement ----
    def call(self, *args, **kw):
        return self.server.call(*args, **kw)

    def judge(self, load, kind, ended):
        self.by_kind[kind] = self.by_kind.get(kind, 0) + 1
        for topic in self.topics.values():
            seen, order, graves, head = read_all(self.call, topic.name)
            judge(topic, seen, order, graves, head, ended, self.verdict)
        for name, known in self.made.items():
            if known is None:
                continue
            answer = self.call("GET", "/v0/topics/" + name)
            if known[0] == "gone" and answer.status != 404 or known[0] == "there" and (answer.status != 200 or answer.json["config"] != known[1]):
                self.failures.append("round %d: an acked change of %s is undone: %r" % (self.round, name, answer))
        answer = self.call("POST", "/v0/topics/fresh", {"records": [{"data": self.round}]})
        if answer.status not in (200, 201) or self.call("GET", "/v0/topics/fresh/records/%d" % answer.json["last_seq"]).json["data"] != self.round:
            self.failures.append("round %d: a fresh write and read: %r" % (self.round, answer))
        self.failures += ["round %d: %s" % (self.round, p) for p in load.problems[:5]]
        if self.verdict.bad() or self.failures:
            raise AssertionError("after %s" % kind)
        self.trim()

    def trim(self):
        """Keeps the log small: topics that have grown are deleted and made again."""
        for name, topic in list(self.topics.items()):
            if len(topic.acked) < 6000:
                continue
            self.call("DELETE", "/v0/topics/" + name)
            answer = self.call("PUT", "/v0/topics/" + name, {"durability": topic.durability})
            self.topics[name] = Topic(name, topic.durability, answer.json["epoch"])
        used = sum(os.path.getsize(os.path.join(self.server.data, f)) for f in os.listdir(self.server.data))
        if used > 48 << 20:
            self.server.close()
            self.begin()

    def look_at_image(self, kind):
        """The independent reader of the format must see in the dead image what the server will serve."""
        if not LOGREADER or self.rng.random() > 0.34:
            return

        image = logreader.read(self.server.data, sample=logreader.SAMPLE)
        self.compared += 1
        for id, wrong in image.footers.items():
            if wrong:
                self.failures.append("round %d: the footer of %016x differs from its frames after %s: %s" % (self.round, id, kind, ", ".join(wrong)))
                return
        for topic in self.topics.values():
            if topic.durability == "ephemeral":
                continue
            found = image.topics.get(topic.name)
            records = {} if found is None else found.records
            for seq, value in topic.acked.items():
                if seq not in records or digest(records[seq]) != value:
                    self.failures.append("round %d: the reader of the format does not find seq %d of %s after %s" % (self.round, seq, topic.name, kind))
                    return

    def run(self):
        kinds = ["kill_worker", "kill_logd", "kill_logd", "abort_logd", "kill_logd_twice", "kill_logd_and_worker", "kill_supervisor", "kill_all", "kill_all",
                 "stop"]
        self.begin()
        try:
            if self.args.failpoints:
                rounds = [("failpoint_round", n) for n in FAILPOINTS + STOP_FAILPOINTS] * max(1, self.args.kills // 15)
            else:
                rounds = [("one_round", kinds[i % len(kinds)]) for i in range(self.args.kills)]
            self.rng.shuffle(rounds)
            for method, argument in rounds:
                getattr(self, method)(argument)
        except Exception as problem:
            self.failures.append("round %d, seed %s, %s: %s" % (self.round, self.seed, argument, problem))
        return self.report()

    def report(self):
        for text in self.verdict.problems + self.failures[:20]:
            print("FAILED seed %s: %s" % (self.seed, text))
        if self.failures or self.verdict.bad():
            print(self.server.tail(3000))
        try:
            self.server.close()
        except AssertionError as problem:
            self.failures.append(str(problem))
            print("FAILED seed %s: %s" % (self.seed, problem))
        print("figures: kills " + ", ".join("%s %d" % (k.replace("kill_", ""), n) for k, n in sorted(self.by_kind.items())) +
              "; images held against the independent reader %d" % self.compared)
        print(self.verdict.figures())
        total = sum(self.by_kind.values())
        failed = len(self.failures) + self.verdict.bad()
        print("%d passed, %d failed, 0 skipped" % (total if not failed else max(total - 1, 0), 1 if failed else 0))
        return 1 if failed else 0


def side_by_side(args):
    """Several campaigns at once, each with its own daemon and seed: they mostly wait. Their lines come one after the other."""
    children = []
    for job in range(args.jobs):
        kills = args.kills // args.jobs + (job < args.kills % args.jobs)
        command = [sys.executable, os.path.abspath(__file__), "--kills", str(kills), "--seed", "%s-%d" % (args.seed, job), "--jobs", "1"]
        children.append(subprocess.Popen(command + (["--failpoints"] if args.failpoints else []), stdout=subprocess.PIPE))
    status = 0
    for child in children:
        text = child.communicate()[0]
        sys.stdout.write(text.decode("utf-8", "replace"))
        status = status or child.returncode
    return status


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=int(os.environ.get("TOPICS_KILLS", "500")), help="$TOPICS_KILLS, else 500; every kind occurs from 10 on")
    parser.add_argument("--seed", default=str(int(time.time())))
    parser.add_argument("--failpoints", action="store_true", help="die at every named failpoint (needs a build with --enable-failpoints)")
    parser.add_argument("--jobs", type=int, default=0, help="campaigns at once (one for each core, but at least ten kills in each)")
    args = parser.parse_args()
    if args.jobs == 0:
        args.jobs = max(1, min(os.cpu_count() or 1, args.kills // 10)) if not args.failpoints else 1
    return side_by_side(args) if args.jobs > 1 else Kills(args).run()


if __name__ == "__main__":
    sys.exit(main())
