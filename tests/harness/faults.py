"""A plan for the library that lets calls of one of the server's processes fail (tests/faults/shim.c), and a client that remembers what it was told."""

import errno
import json
import mmap
import os
import struct
import tempfile
import time

from kills.oracle import Topic, Verdict, digest, judge, read_all

from .server import Server, send, until

CALLS = {"pwrite": 1, "fdatasync": 2, "fsync": 3, "openat": 4, "fallocate": 5, "malloc": 6, "fill": 7, "key": 8, "system": 9}
SHORT, HANG, ABORT = 1000, 1001, 1002
STICKY = (1 << 64) - 1
RULE, RULES = 64, 16
CLASSES = ("ephemeral", "memory", "disk", "fsync")


def shim_path():
    return os.path.join(os.environ.get("TOPICS_BUILDDIR", os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "build")), "tests", "faults", "shim.so")


class Plan:
    def __init__(self, victim="topics-logd"):
        self.victim = victim
        self.file = tempfile.NamedTemporaryFile(prefix="topics-faults-")
        self.file.truncate(RULE * RULES)
        self.map = mmap.mmap(self.file.fileno(), RULE * RULES)

    def environment(self):
        return {"LD_PRELOAD": os.path.abspath(shim_path()), "FAULTS_PLAN": self.file.name, "FAULTS_VICTIM": self.victim}

    def arm(self, call, error, times=1, after=0, place=0):
        """From now on: lets `after` calls pass, then `times` fail with `error`."""
        fields = (CALLS[call], error, times, after)
        for i in (2, 0, 1, 3, 4, 5):  # idle until all stands there
            struct.pack_into("<Q", self.map, place * RULE + i * 8, 0 if i in (2, 4, 5) else fields[i])
        struct.pack_into("<Q", self.map, place * RULE + 16, times)

    def count(self, call, place):
        """From now on: counts the calls, which all pass."""
        self.arm(call, 0, after=1 << 62, place=place)

    def counted(self, place):
        return struct.unpack_from("<Q", self.map, place * RULE + 32)[0]

    def wait_still(self, call, seconds):
        """Until there has been no such call for so long: what happens by itself, like a sync mark or the sealing of a file that was left, has happened."""
        place, seen, since = RULES - 1, None, 0

        def still():
            nonlocal seen, since
            if seen != self.counted(place):
                seen, since = self.counted(place), time.monotonic()
            return time.monotonic() - since >= seconds
        self.count(call, place)
        until(still, what="the end of %s calls" % call)
        struct.pack_into("<Q", self.map, place * RULE + 16, 0)

    def clear(self):
        for place in range(RULES):
            struct.pack_into("<Q", self.map, place * RULE + 16, 0)

    def failed(self, place=0):
        return struct.unpack_from("<Q", self.map, place * RULE + 40)[0]

    def close(self):
        self.map.close()
        self.file.close()


class World:
    """A server with a plan, a topic of each class, and what their clients know."""

    def __init__(self, faults=True, classes=CLASSES, program=None, victim="topics-logd", data=None, **settings):
        self.plan = Plan(victim)
        self.number = 0
        self.topics = {}
        self.server = Server(data=data, settings=dict({"TOPICS_WORKERS": 1}, **settings), environment=self.plan.environment() if faults else None, program=program)
        try:
            self.server.start()
            for cls in classes:
                self.topics[cls] = Topic(cls, cls, self.server.call("PUT", "/v0/topics/" + cls, {"durability": cls}).json["epoch"])
            for cls in classes:
                assert self.append(cls) == 200, "a first write"
        except BaseException:
            self.close()
            raise

    def body(self, size=0, count=3):
        self.number += 1
        datas = [json.dumps({"n": self.number, "i": i, "pad": "x" * size}, separators=(",", ":")).encode() for i in range(count)]
        return b'{"records":[' + b",".join(b'{"data":%s}' % d for d in datas) + b"]}", [digest(d) for d in datas]

    def unknown(self):
        """The last append that `append` began ended without an answer."""
        cls, digests = self.last
        self.topics[cls].leave_unknown(digests)

    def append(self, cls, size=0, count=3, link=None):
        """What the client saw: 200, or the error's code. A refused batch must never appear, an unknown one may."""
        body, digests = self.body(size, count)
        self.last = (cls, digests)
        path, headers = "/v0/topics/" + cls, {"Content-Type": "application/json"}
        answer = send(link, "POST", path, body=body, headers=headers) if link else self.server.call("POST", path, body=body, headers=headers)
        return self.note(cls, answer, digests)

    def note(self, cls, answer, digests):
        if answer.status in (200, 201):
            self.topics[cls].ack(answer.json, digests)
            return answer.status
        if answer.code == "commit_unknown":
            self.topics[cls].leave_unknown(digests)
        return answer.code

    def read(self, cls):
        return read_all(self.server.call, cls)

    def check(self, daemon_ended=False, losses=()):
        """What is served now against what was acked."""
        verdict = Verdict()
        for cls, topic in self.topics.items():
            judge(topic, *self.read(cls), daemon_ended, verdict)
        assert not verdict.bad(), "; ".join(verdict.problems)

    def restart(self):
        """Everything dies at once; the next start knows no faults."""
        self.server.kill_all()
        self.plan.clear()
        self.server.environment = {}
        self.server.start()
        self.check(daemon_ended=True)
        for cls in self.topics:
            assert self.append(cls) == 200, "a write after the restart"
        self.check(daemon_ended=True)

    def close(self):
        self.plan.clear()
        self.server.close()
        self.plan.close()


def link_of(world, worker, answers=True):
    """A connection that this worker has accepted."""
    def try_one():
        link = world.server.link(timeout=20)
        send(link, "GET", "/v0/health")
        mine = link.sock.getsockname()
        inodes = set()
        for fd in os.listdir("/proc/%d/fd" % worker):
            try:
                inodes.add(os.readlink("/proc/%d/fd/%s" % (worker, fd)))
            except FileNotFoundError:  # closed meanwhile
                pass
        with open("/proc/net/tcp") as f:
            for line in f:
                fields = line.split()
                if fields[2].endswith(":%04X" % mine[1]) and "socket:[%s]" % fields[9] in inodes:
                    return link
        link.close()
        return None
    return until(try_one, what="a connection to worker %d" % worker)


def with_world(body, **settings):
    """The body in a world of its own, then a death of all and a start that finds everything."""
    world = World(**settings)
    try:
        body(world)
        world.restart()
    except Exception as problem:
        raise AssertionError("%s\n%s" % (problem, world.server.tail(1500)))
    finally:
        world.close()


__all__ = ["ABORT", "CLASSES", "HANG", "SHORT", "STICKY", "Plan", "World", "errno", "link_of", "until", "with_world"]
