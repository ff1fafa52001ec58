#!/usr/bin/env python3
"""Workers of the real daemon that turn on it (FAULTS E1 to E7, E9): the log process cuts the bad one off, the supervisor replaces it, clients of the other one see nothing,
what is stored stays as it is."""

import os
import shutil
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness import cases  # noqa: E402
from harness.cases import case, same, truth  # noqa: E402
from harness.faults import CLASSES, link_of, until, with_world  # noqa: E402
from harness.server import topicsd_path  # noqa: E402

BREAKING = ("noise", "bad-length", "short-length", "bad-body", "bad-count", "bad-name", "past-limit", "forged-name", "tail-back", "tail-ahead", "published-ahead",
            "answers-ahead", "forged-message")


class Programs:
    """The three programs beside each other, the worker being the hostile one."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="topics-hostile-")
        built = os.path.dirname(os.path.dirname(topicsd_path()))
        for source, name in ((topicsd_path(), "topicsd"), (os.path.join(built, "logd", "topics-logd"), "topics-logd"),
                             (os.path.join(built, "tests", "faults", "hostile_worker"), "topics-worker")):
            shutil.copy2(source, os.path.join(self.folder, name))

    def attack(self, pid, kind):
        path = os.path.join(self.folder, "attack")
        with open(path + ".new", "w") as f:
            f.write("%d %s" % (pid, kind))
        os.rename(path + ".new", path)

    def report(self, pid, word):
        def there():
            try:
                with open(os.path.join(self.folder, "attack.%d" % pid)) as f:
                    text = f.read()
            except OSError:
                return None
            return text if word in text else None
        return until(there, what="'%s' in the report of the attack" % word)

    def close(self):
        shutil.rmtree(self.folder, ignore_errors=True)


class Neighbour:
    """A client of the worker that stays good; writes as long as the block lasts."""

    def __init__(self, world, worker):
        self.world, self.link, self.seen, self.going = world, link_of(world, worker), [], True
        self.thread = threading.Thread(target=self.run)

    def run(self):
        while self.going:
            try:
                self.seen += [self.world.append(cls, link=self.link) for cls in CLASSES]
            except Exception as problem:
                self.seen.append(repr(problem))
                return

    def __enter__(self):
        self.thread.start()
        until(lambda: len(self.seen) >= 8, what="writes of the neighbour")
        return self

    def __exit__(self, *_):
        self.going = False
        self.thread.join(20)


def beside_hostile(programs, body):
    with_world(body, faults=False, program=os.path.join(programs.folder, "topicsd"), TOPICS_WORKERS=2)


@case
def worker_that_breaks_its_ring_is_replaced_and_its_neighbour_sees_nothing(programs):
    def body(world):
        for kind in BREAKING:
            workers = until(lambda: world.server.workers() if len(world.server.workers()) == 2 else None, what="two workers")
            bad, good = workers
            logd, said = world.server.logd(), world.server.tail(1 << 20).count("security: worker")
            with Neighbour(world, good) as neighbour:
                programs.attack(bad, kind)
                until(lambda: bad not in world.server.workers(), what="the end of the worker after " + kind)
                before = len(neighbour.seen)
                until(lambda: len(neighbour.seen) >= before + 8, what="writes of the neighbour after " + kind)
            same(set(neighbour.seen), {200}, "what clients of the other worker saw during " + kind)
            same(world.server.logd(), logd, "the log process after " + kind)
            truth(good in world.server.workers(), "the neighbour is not replaced after " + kind)
            truth(world.server.tail(1 << 20).count("security: worker") > said, "a line about it in the log after " + kind)
            same(world.server.call("GET", "/v0/topics/hostile").status, 404, "nothing was stored by " + kind)
            world.check()
        # From its second death in a minute on a worker is started later and later, but it is started.
        until(lambda: len(world.server.workers()) == 2, seconds=30, what="two workers")
    beside_hostile(programs, body)


@case
def worker_that_floods_and_reads_no_answer_holds_up_itself_alone(programs):
    def body(world):
        bad, good = world.server.workers()
        logd = world.server.logd()
        with Neighbour(world, good) as neighbour:
            programs.attack(bad, "flood")
            programs.report(bad, "flooding")
            before, began = len(neighbour.seen), time.monotonic()
            until(lambda: len(neighbour.seen) >= before + 200, what="writes of the neighbour during the flood")
        same(set(neighbour.seen), {200}, "what clients of the other worker saw (%d in %.1f s)" % (len(neighbour.seen), time.monotonic() - began))
        same(world.server.logd(), logd, "the log process")
        os.kill(bad, 9)
        until(lambda: len(world.server.workers()) == 2 and bad not in world.server.workers(), what="a new worker in its place")
        world.check()
    beside_hostile(programs, body)


@case
def worker_that_takes_wake_ups_of_the_log_process_delays_itself_alone(programs):
    def body(world):
        bad, good = world.server.workers()
        logd, link, slowest = world.server.logd(), link_of(world, good), 0
        programs.attack(bad, "take-wakes")
        programs.report(bad, "taking")
        for _ in range(100):
            time.sleep(0.005)  # the log process sleeps by then
            began = time.monotonic()
            same(world.append("memory", link=link), 200, "a write of the neighbour")
            slowest = max(slowest, time.monotonic() - began)
        truth(slowest < 0.5, "the neighbour's slowest write took %.2f s" % slowest)
        same(world.server.logd(), logd, "the log process")
        os.kill(bad, 9)
        world.check()
    beside_hostile(programs, body)


@case
def worker_that_makes_its_wake_ups_wait_holds_up_itself_alone(programs):
    def body(world):
        bad, good = world.server.workers()
        logd, link = world.server.logd(), link_of(world, good)
        programs.attack(bad, "full-wake")
        programs.report(bad, "full")
        for cls in CLASSES * 3:
            same(world.append(cls, link=link), 200, "a write of the neighbour to " + cls)
        same(world.server.logd(), logd, "the log process")
        os.kill(bad, 9)
        world.check()
    beside_hostile(programs, body)


@case
def shared_objects_cannot_be_resized_and_those_of_others_not_be_written(programs):
    def body(world):
        bad = world.server.workers()[0]
        programs.attack(bad, "resize")
        for line in programs.report(bad, "end").splitlines():
            if line != "end":
                what, _, result = line.partition(": ")
                truth(result in ("EPERM", "EACCES", "EINVAL") if what.startswith(("shrink", "grow")) else result in ("EPERM", "EACCES"), line)
        same([world.append(cls) for cls in CLASSES], [200] * 4, "writes afterwards")
        world.check()
    beside_hostile(programs, body)


@case
def late_writes_of_a_dead_worker_reach_nobody(programs):
    def body(world):
        bad = world.server.workers()[0]
        programs.attack(bad, "late-writes")
        until(lambda: bad not in world.server.workers() and len(world.server.workers()) == 2, what="a new worker in its place")
        same([world.append(cls) for cls in CLASSES * 3], [200] * 12, "writes meanwhile")
        heads = []
        for _ in range(2):  # what came before the log process heard of the death is a request like any other
            answer = world.server.call("GET", "/v0/topics/late")
            heads.append(answer.json["head_seq"] if answer.status == 200 else 0)
            programs.report(bad, "late writes done")
        truth(heads[0] == heads[1] < 100, "late writes that were taken: %r" % heads)
        world.check()
    beside_hostile(programs, body)


if __name__ == "__main__":
    sys.exit(cases.main(Programs, lambda programs: programs.close()))
