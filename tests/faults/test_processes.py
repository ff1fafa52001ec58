#!/usr/bin/env python3
"""Processes that stand still, that die at every start, and a request that kills the log process each time (FAULTS A12, A13; ARCHITECTURE §5, a poisoned entry)."""

import errno
import http.client
import os
import signal
import struct
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness import cases  # noqa: E402
from harness.cases import case, same, truth  # noqa: E402
from harness.counters import counter  # noqa: E402
from harness.faults import ABORT, CLASSES, STICKY, link_of, until, with_world  # noqa: E402
from harness.server import send  # noqa: E402


def state_of(pid):
    with open("/proc/%d/stat" % pid) as f:
        return f.read().rpartition(")")[2].split()[0]


def stop(pid):
    os.kill(pid, signal.SIGSTOP)
    until(lambda: state_of(pid) == "T", what="its stop")


@case
def worker_that_stands_still_holds_up_its_own_clients_alone(_):
    def body(world):
        victim, neighbour = world.server.workers()
        held, free = link_of(world, victim), link_of(world, neighbour)
        stop(victim)
        try:
            answers = []
            thread = threading.Thread(target=lambda: answers.append(world.append("disk", link=held)))
            thread.start()
            for cls in CLASSES:
                same([world.append(cls, link=free) for _ in range(3)], [200] * 3, "writes to %s through the neighbour" % cls)
            same([world.append("fsync") for _ in range(5)], [200] * 5, "new connections go to the neighbour")
            truth(not answers, "the client of the worker that stands still waits")
        finally:
            os.kill(victim, signal.SIGCONT)
        thread.join(20)
        same(answers, [200], "and is answered when it goes on")
        world.check()
    with_world(body, TOPICS_WORKERS=2)


@case
def children_of_a_killed_supervisor_leave_and_the_next_start_has_everything(_):
    def body(world):
        children = world.server.pids("")
        os.kill(world.server.process.pid, signal.SIGKILL)
        world.server.process.wait(20)
        until(lambda: not any(os.path.exists("/proc/%d" % child) for child in children), what="the end of the children")
        world.server.start()
        world.check(daemon_ended=True)
    with_world(body, TOPICS_WORKERS=2)


@case
def port_of_a_killed_supervisor_is_free_while_its_last_requests_wait(_):
    def refused(world):
        try:
            world.server.call("GET", "/v0/health", timeout=0.5)
        except ConnectionRefusedError:
            return True
        except OSError:
            pass
        return False

    def body(world):
        logd, worker = world.server.logd(), world.server.workers()[0]
        link = world.server.link()
        records, digests = world.body()
        world.last = ("memory", digests)
        stop(logd)
        try:
            link.request("POST", "/v0/topics/memory", records, {"Content-Type": "application/json"})
            world.server.call("GET", "/v0/health")  # the write has been read by then, and waits
            os.kill(world.server.process.pid, signal.SIGKILL)
            world.server.process.wait(20)
            until(lambda: refused(world), what="a free port")
            truth(os.path.exists("/proc/%d" % worker) and state_of(worker) != "Z", "the port was free only when the worker, and the request that waits in it, had gone")
        finally:
            os.kill(logd, signal.SIGCONT)
            link.close()
        world.unknown()
    with_world(body)


@case
def log_process_is_what_a_lack_of_memory_takes_last(_):
    def body(world):
        def score(pid):
            with open("/proc/%d/oom_score_adj" % pid) as f:
                return int(f.read())
        workers = [score(worker) for worker in world.server.workers()]
        # Who may not go below what he has (not even root everywhere) stays where he is.
        try_it = "f = open('/proc/self/oom_score_adj', 'r+'); f.write('-900'); f.close()"
        may = subprocess.run([sys.executable, "-c", try_it], stderr=subprocess.DEVNULL).returncode == 0
        want = -900 if may else score(os.getpid())
        until(lambda: score(world.server.logd()) == want, what="a score of %d" % want)
        truth(score(world.server.logd()) <= min(workers), "workers have %r" % workers)
    with_world(body)


@case
def supervisor_that_stands_still_is_not_missed(_):
    def body(world):
        world.check()  # the worker has the descriptors of the files: it asks the supervisor for each once
        stop(world.server.process.pid)
        try:
            for cls in CLASSES:
                same([world.append(cls) for _ in range(3)], [200] * 3, "writes to %s" % cls)
            world.check()
        finally:
            os.kill(world.server.process.pid, signal.SIGCONT)
        same(world.append("fsync"), 200, "a write afterwards")
    with_world(body)


@case
def log_process_that_stands_still_leaves_reads_alone_and_loses_nothing(_):
    def body(world):
        logd = world.server.logd()
        stop(logd)
        try:
            seen = []
            threads = [threading.Thread(target=lambda c=cls: seen.append(world.append(c))) for cls in CLASSES]
            for thread in threads:
                thread.start()
            for cls in CLASSES:
                same(world.read(cls)[3], world.topics[cls].head, "head of %s" % cls)
            for thread in threads:
                thread.join(20)
            same(seen, ["commit_unknown"] * 4, "what was handed over")
        finally:
            os.kill(logd, signal.SIGCONT)
        until(lambda: world.append("fsync") == 200, what="a write when it goes on")
        world.check()
        same(world.server.logd(), logd, "the log process")
    with_world(body)


class Catalogue:
    """The log process's catalogue, written to by the supervisor's descriptor; offsets as in docs/shared-memory.md, section 6."""
    TOPICS, TOPIC = 4096 + 65536 * 32 + (1 << 23) * 4 + 32770 * 4 + 32770 * (8 + 512 * 4), 768

    def __init__(self, server):
        base = "/proc/%d/fd" % server.process.pid
        path = next(path for path in (os.path.join(base, fd) for fd in os.listdir(base)) if os.readlink(path).startswith("/memfd:topics-catalogue"))
        self.file = os.open(path, os.O_RDWR)

    def section(self, epoch):
        """Offset of the sequence counter of the topic with this epoch."""
        slots = (self.TOPICS + slot * self.TOPIC for slot in range(64))
        return next(at for at in slots if struct.unpack("<Q", os.pread(self.file, 8, at + 8))[0] == int(epoch, 16))

    def step(self, at, by):
        os.pwrite(self.file, struct.pack("<Q", struct.unpack("<Q", os.pread(self.file, 8, at))[0] + by), at)

    def close(self):
        os.close(self.file)


@case
def log_process_that_stands_still_in_the_middle_of_a_section_holds_reads_up_until_it_goes_on(_):
    def body(world):
        logd, catalogue = world.server.logd(), Catalogue(world.server)
        section = catalogue.section(world.topics["disk"].epoch)
        seen, before = [], counter(world.server, "requests_total")
        paths = ("/v0/topics/disk", "/v0/topics", "/v0/topics/disk/records?from_seq=0", "/v0/topics/disk/records/1")
        threads = [threading.Thread(target=lambda p=path: seen.append(world.server.call("GET", p).status)) for path in paths * 3]
        stop(logd)
        catalogue.step(section, 1)
        try:
            for thread in threads:
                thread.start()
            same(world.read("memory")[3], world.topics["memory"].head, "reads of another topic go on")
            until(lambda: counter(world.server, "requests_total") > before + len(threads), what="the requests")
            same(seen, [], "what was answered from half a section")
        finally:
            catalogue.step(section, -1)
            os.kill(logd, signal.SIGCONT)
        began = time.monotonic()
        for thread in threads:
            thread.join(20)
        same(seen, [200] * len(threads), "the reads")
        truth(time.monotonic() - began < 3, "they waited for another catalogue")
        catalogue.close()
        world.check()
    with_world(body)


def listing(world):
    return {name: os.path.getsize(os.path.join(world.server.data, name)) for name in os.listdir(world.server.data)}


def restarts(world):
    return world.server.tail(1 << 20).count("was ended by signal 6")


@case
def log_process_that_dies_at_every_start_is_told_and_changes_nothing(_):
    def body(world):
        world.plan.arm("openat", ABORT, STICKY)
        os.kill(world.server.logd(), signal.SIGKILL)
        until(lambda: restarts(world) >= 3, what="three deaths at the start")
        before, deaths, began = listing(world), restarts(world), time.monotonic()
        for cls in CLASSES:
            same(world.read(cls)[3], world.topics[cls].head, "reads of %s go on" % cls)
        seen = world.append("disk")
        truth(seen in ("commit_unknown", "storage_stalled"), "a write meanwhile: %r" % seen)
        until(lambda: world.server.call("GET", "/v0/ready?write=1").status != 200, what="a word about it")
        ready = world.server.call("GET", "/v0/ready?write=1")
        same((ready.status, ready.code), (503, "storage_stalled"), "readiness to write")
        truth("log process" in ready.json["error"]["message"], "it says why: %r" % ready)
        until(lambda: restarts(world) > deaths, what="one more try")
        same(listing(world), before, "the data directory after a few more deaths")
        truth(restarts(world) - deaths <= 2 + (time.monotonic() - began) * 2, "it backs off: %d deaths" % (restarts(world) - deaths))
        world.plan.clear()
        until(lambda: world.append("disk") == 200, what="a write when it starts again")
        same(world.server.call("GET", "/v0/ready?write=1").status, 200, "readiness to write")
        world.check()
    with_world(body)


@case
def daemon_whose_log_process_dies_at_every_start_is_not_ready(_):
    def body(world):
        world.server.kill_all()
        world.plan.arm("openat", ABORT, STICKY)
        before = listing(world)
        world.server.spawn()
        until(lambda: os.path.exists(world.server.port_file), what="the port file")
        with open(world.server.port_file) as f:
            world.server.port = int(f.read().strip().rpartition(":")[2])
        until(lambda: restarts(world) >= 3, what="three deaths at the start")
        for method, path in (("GET", "/v0/ready"), ("POST", "/v0/topics/disk"), ("POST", "/v0/topics/disk/diff")):
            document = {"records": [{"data": 1}]} if path.endswith("disk") else None
            answer = world.server.call(method, path, document)
            same((answer.status, answer.code), (503, "not_ready"), "%s %s" % (method, path))
            truth(int(answer.headers["retry-after"]) > 0, "Retry-After")
        same(world.server.call("GET", "/v0/health").status, 200, "health")
        same(listing(world), before, "the data directory")
        world.plan.clear()
        world.server.wait_ready()
        world.check(daemon_ended=True)
    with_world(body)


@case
def request_that_kills_the_log_process_each_time_is_dropped_with_500_and_nobody_else_notices(_):
    def body(world):
        first = sorted(world.server.workers())
        links = [link_of(world, worker) for worker in first]
        world.plan.arm("key", ABORT, STICKY)
        answers, innocents = [], []

        def poison():
            try:
                answers.append(send(links[0], "POST", "/v0/topics/disk", {"records": [{"data": "poison"}], "idempotency_key": "poison-1"}))
            except (OSError, http.client.HTTPException) as problem:
                answers.append(problem)
        thread = threading.Thread(target=poison)
        thread.start()
        until(lambda: restarts(world) >= 1, what="a death")
        while thread.is_alive():
            innocents += [world.append(cls, link=links[1]) for cls in CLASSES]
        thread.join()
        same(set(innocents), {200}, "what clients of the other worker saw")
        same(restarts(world), 2, "deaths of the log process")
        truth(hasattr(answers[0], "status"), "the answer: %r" % answers[0])
        same((answers[0].status, answers[0].code), (500, "internal"), "the answer")
        until(lambda: set(world.server.workers()) - set(first) and first[1] in world.server.workers(), what="a new worker in its place")
        same([world.append(cls, link=links[1]) for cls in CLASSES], [200] * 4, "the neighbour goes on")
        until(lambda: len(world.server.workers()) == 2, what="two workers")
        same([world.append(cls) for cls in CLASSES], [200] * 4, "new connections")
        world.check()  # the poisoned record is nowhere
        world.plan.clear()
    with_world(body, TOPICS_WORKERS=2)


@case
def worker_without_memory_answers_with_an_error_or_ends_that_connection_alone(_):
    """Every allocation that requests of each kind make in a worker fails once: a whole answer or none, nothing half done, the next request works."""
    def body(world):
        worker = world.server.workers()[0]
        failed = 0
        for method, path, document in (("POST", "/v0/topics/disk/diff", {"limit": 1000}), ("GET", "/v0/topics/disk/records?limit=10", None), ("GET", "/v0/topics", None),
                                       ("PUT", "/v0/topics/other", {"durability": "memory"}), ("PATCH", "/v0/topics/other", {"ttl_ms": 5}), ("APPEND", "disk", None)):
            for n in range(60):
                link = world.server.link()
                if method != "POST":  # for the first, also what accepting a connection takes
                    send(link, "GET", "/v0/health")
                world.plan.arm("malloc", errno.ENOMEM, 1, after=n)
                try:
                    if method == "APPEND":
                        seen = world.append(path, size=20000, count=20, link=link)
                    else:
                        answer = send(link, method, path, document)
                        seen = answer.status if answer.status in (200, 201) else answer.code
                    truth(seen in (200, 201, "internal", "storage_stalled", "throttled", "storage_failed"), "%s %s with allocation %d failing: %r" % (method, path, n, seen))
                except (OSError, http.client.HTTPException):
                    if method == "APPEND":
                        world.unknown()
                link.close()
                used = world.plan.failed()
                world.plan.clear()
                failed += used
                same(world.append("disk"), 200, "the next write")
                if not used:
                    break
        truth(failed > 10, "%d failed allocations" % failed)
        same(world.server.workers(), [worker], "the worker")
        world.check()
    with_world(body, victim="topics-worker")


if __name__ == "__main__":
    sys.exit(cases.main(lambda: None))
