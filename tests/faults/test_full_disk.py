#!/usr/bin/env python3
"""Starts on a disk that is really full, with more behind the last recorded frontier than the prepared file holds (docs/format.md §10.7): what is proven is served, nothing is written, and
everything that was acked is there as soon as there is space."""

import os
import signal
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness import cases  # noqa: E402
from harness.cases import case, same, truth  # noqa: E402
from harness.faults import CLASSES, World, until  # noqa: E402
from harness.small_disk import SmallDisk  # noqa: E402

TAILED = ("memory", "disk")
SETTINGS = {"TOPICS_SEGMENT_MAX_BYTES": 1 << 20, "TOPICS_SYNC_INTERVAL_MS": 600000}


def ready_to_write(world):
    answer = world.server.call("GET", "/v0/ready?write=1")
    return answer.status if answer.status == 200 else answer.code


def state(world, cls):
    return world.server.call("GET", "/v0/topics/" + cls).json


def diff(world, cls, from_seq, **more):
    return world.server.call("POST", "/v0/topics/%s/diff" % cls, dict({"from_seq": from_seq, "limit": 1000}, **more))


def make_tail(world):
    """Acked records that no sync has covered, more than two prepared files hold; returns the heads before them, which are proven."""
    for cls in TAILED:
        same(world.append(cls), 200, "a write that will be proven")
    same(world.append("fsync"), 200, "the write whose sync proves it")
    proven = {cls: world.topics[cls].head for cls in CLASSES}
    for _ in range(25):
        same(world.append("disk", size=100000, count=1), 200, "a write to disk")
    for cls in ("memory", "ephemeral"):
        same(world.append(cls), 200, "a write to %s" % cls)
    return proven


def refuses_all_writes(world):
    for cls in CLASSES:
        same(world.append(cls), "storage_full", "a write to %s" % cls)
    for method, path in (("PUT", "/v0/topics/another"), ("DELETE", "/v0/topics/disk")):
        answer = world.server.call(method, path, {} if method == "PUT" else None)
        same((answer.status, answer.code), (507, "storage_full"), "%s %s" % (method, path))
    same(ready_to_write(world), "storage_full", "readiness to write")
    same(world.server.call("GET", "/v0/ready").status, 200, "readiness")
    same(world.server.call("GET", "/v0/health").status, 200, "health")


def serves_what_is_proven(world, proven):
    for cls in ("memory", "disk", "fsync"):
        now, page = state(world, cls), diff(world, cls, 0).json
        same((now["head_seq"], now["count"]), (proven[cls], proven[cls]), "head and count of %s" % cls)
        same([r["$seq"] for r in page["records"]], list(range(1, proven[cls] + 1)), "seqs of %s" % cls)
        same((page["caught_up"], page["tombstone"]), (True, None), "the end of %s" % cls)
        same(diff(world, cls, proven[cls], wait_ms=200).status, 200, "a long poll with nothing to say")
    for cls in TAILED:
        same(diff(world, cls, world.topics[cls].head).code, "not_ready", "a reader of %s that had seen more" % cls)
        same(world.server.call("GET", "/v0/topics/%s/records/%d" % (cls, proven[cls] + 1)).code, "not_ready", "a record of the tail")
    same(world.server.call("GET", "/v0/topics/nobody-knows").code, "not_ready", "a topic that the tail may have made")


def goes_on(world, disk, daemon_ended):
    woken = []
    waiting = threading.Thread(target=lambda: woken.append(diff(world, "memory", state(world, "memory")["head_seq"], wait_ms=20000).json))
    waiting.start()
    disk.empty()
    until(lambda: ready_to_write(world) == 200, seconds=5, what="readiness to write once there is space")
    world.check(daemon_ended=daemon_ended)
    for cls in CLASSES:
        same(world.append(cls), 200, "a write to %s" % cls)
    waiting.join(10)
    truth(woken and woken[0]["records"], "the long poll has its records")
    world.check(daemon_ended=daemon_ended)
    world.restart()


def with_disk(body):
    disk = SmallDisk()
    try:
        world = World(faults=False, data=os.path.join(disk.path, "data"), **SETTINGS)
        try:
            body(world, disk)
        except Exception as problem:
            raise AssertionError("%s\n%s" % (problem, world.server.tail(1500)))
        finally:
            world.close()
    finally:
        disk.close()


@case
def a_daemon_that_starts_on_a_full_disk_serves_what_is_proven_until_there_is_space(_):
    def body(world, disk):
        proven = make_tail(world)
        disk.fill()
        world.server.kill_all()
        world.server.start()
        serves_what_is_proven(world, proven)
        refuses_all_writes(world)
        logd = world.server.logd()
        os.kill(logd, signal.SIGKILL)
        until(lambda: world.server.logd() != logd, what="another log process")
        until(lambda: world.append("disk") == "storage_full", what="its refusal")
        serves_what_is_proven(world, proven)
        refuses_all_writes(world)
        goes_on(world, disk, daemon_ended=True)
    with_disk(body)


@case
def a_log_process_that_dies_on_a_full_disk_leaves_readers_all_that_they_had(_):
    def body(world, disk):
        make_tail(world)
        disk.fill()
        for _ in range(2):
            logd = world.server.logd()
            os.kill(logd, signal.SIGKILL)
            until(lambda: world.server.logd() != logd, what="another log process")
            until(lambda: ready_to_write(world) == "storage_full", what="no readiness to write")
            refuses_all_writes(world)
            world.check()
        goes_on(world, disk, daemon_ended=False)
    with_disk(body)


@case
def a_stop_on_a_full_disk_loses_nothing(_):
    def body(world, disk):
        make_tail(world)
        disk.fill()
        world.server.kill_all()
        world.server.start()
        refuses_all_writes(world)
        same(world.server.stop(), 1, "the status of a daemon that could not close its log")
        disk.empty()
        world.server.start()
        world.check(daemon_ended=True)
        world.restart()
    with_disk(body)


if __name__ == "__main__":
    if not SmallDisk.available():
        print("skipped: no file system can be mounted here (this needs root, loop devices and mkfs.ext4)")
        print("0 passed, 0 failed, 1 skipped")
        sys.exit(0)
    sys.exit(cases.main(lambda: None))
