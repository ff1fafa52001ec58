#!/usr/bin/env python3
"""The real daemon while calls of its log process really fail, stop short or hang (FAULTS D1 to D5, D8, D9). Each case: what the client sees, a second write, then every
process is killed and the next start, without faults, has every acked record once and byte for byte, and none that was refused."""

import errno
import os
import shutil
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness import cases  # noqa: E402
from harness.cases import case, same, truth  # noqa: E402
from harness.faults import CLASSES, HANG, SHORT, STICKY, World, until, with_world  # noqa: E402
from harness.manager import Manager  # noqa: E402
from harness.raw import Raw, post  # noqa: E402

ON_DISK = ("memory", "disk", "fsync")


def ready_to_write(world):
    answer = world.server.call("GET", "/v0/ready?write=1")
    return answer.status if answer.status == 200 else answer.code


def each_class(body, classes=CLASSES, **settings):
    """A daemon of its own for each class, so that what one fault leaves behind is not taken for the next one's."""
    for cls in classes:
        world = World(**settings)
        try:
            body(world, cls)
            world.restart()
        except Exception as problem:
            raise AssertionError("%s: %s\n%s" % (cls, problem, world.server.tail(600)))
        finally:
            world.close()


def idle(world):
    """Until the log has nothing unsynced left, so that the next call of a kind is the one that the case means."""
    until(lambda: world.server.call("GET", "/v0/topics/disk").json["durable_seq"] == world.topics["disk"].head, what="a sync of everything")
    world.plan.wait_still("pwrite", 0.3)


@case
def writes_that_stop_short_or_are_interrupted_are_gone_on_with(_):
    def body(world, cls):
        for error, times in ((SHORT, STICKY), (errno.EINTR, 50), (errno.EAGAIN, 50)):
            idle(world)
            world.plan.arm("pwrite", error, times)
            same([world.append(cls, size=5000) for _ in range(3)], [200] * 3, "writes with %d" % error)
            truth(world.plan.failed() > 0, "a call failed with %d" % error)
            world.plan.clear()
    each_class(body, ON_DISK)


@case
def a_write_that_fails_once_is_refused_and_the_next_goes_to_another_file(_):
    def body(world, cls):
        for error, code in ((errno.EIO, "storage_failed"), (errno.ENOSPC, "storage_full"), (errno.EDQUOT, "storage_full")):
            idle(world)
            world.plan.arm("pwrite", error, 1)
            same(world.append(cls), code, "first write with %d" % error)
            same(world.append(cls), 200, "second write after %d" % error)
            world.check()
    each_class(body, ON_DISK)


@case
def writes_that_fail_for_good_turn_the_log_read_only_and_reads_go_on(_):
    def body(world, cls):
        logd = world.server.logd()
        idle(world)
        world.plan.arm("pwrite", errno.EIO, STICKY)
        same(world.append(cls), "commit_unknown", "first write")
        for again in CLASSES[1:]:
            same(world.append(again), "read_only", "second write to %s" % again)
        same(ready_to_write(world), "read_only", "readiness to write")
        same(world.server.call("GET", "/v0/ready").status, 200, "readiness")
        world.check()
        same(world.server.logd(), logd, "the log process: no restart loop")
    each_class(body, ON_DISK)


@case
def a_sync_that_fails_once_is_made_good_in_another_file(_):
    def body(world, cls):
        for error in (errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EINTR):
            idle(world)
            world.plan.arm("fdatasync", error, 1)
            same(world.append(cls), 200, "first write with %d" % error)
            same(world.append("disk"), 200, "a write that is synced in the background")
            until(lambda: world.plan.failed() == 1, what="the failed sync")
            same([world.append(c) for c in CLASSES], [200] * 4, "second writes after %d" % error)
            idle(world)
            world.check()
    each_class(body, ON_DISK)


@case
def syncs_that_fail_for_good_turn_the_log_read_only_and_nothing_acked_is_gone(_):
    def body(world, cls):
        logd = world.server.logd()
        idle(world)
        world.plan.arm("fdatasync", errno.EIO, STICKY)
        same(world.append(cls), "commit_unknown" if cls == "fsync" else 200, "first write")
        until(lambda: ready_to_write(world) == "read_only" or world.append("disk") == "read_only", what="read_only")
        same([world.append(c) for c in ON_DISK], ["read_only"] * 3, "second writes")
        world.check()
        same(world.server.logd(), logd, "the log process: no restart loop")
    each_class(body, ON_DISK)


def fill(world, cls, code, size=3000):
    """Writes until the first refusal, which must be `code`."""
    for _ in range(500):
        seen = world.append(cls, size=size)
        if seen != 200:
            same(seen, code, "the refusal")
            return
    raise AssertionError("nothing was refused")


def full(call, error):
    def body(world, cls):
        idle(world)
        until(lambda: len([n for n in os.listdir(world.server.data) if n[0] == "w"]) >= 2, what="a prepared file")
        world.plan.arm(call, error, STICKY)
        for i in range(8):
            world.server.call("PUT", "/v0/topics/gone-%d" % i, {"durability": cls})
        fill(world, cls, "storage_full")
        fill(world, cls, "storage_full", size=0)
        same(ready_to_write(world), "storage_full", "readiness to write")
        same(world.append(cls, size=3000), "storage_full", "second write")
        for i in range(8):
            same(world.server.call("DELETE", "/v0/topics/gone-%d" % i).status, 200, "delete %d on a full disk" % i)
        world.check()
        world.plan.clear()
        until(lambda: world.append(cls, size=3000) == 200, what="a write once there is space")
        until(lambda: ready_to_write(world) == 200, what="readiness to write")
        world.check()
    each_class(body, ON_DISK, TOPICS_SEGMENT_MAX_BYTES=64 << 10)


@case
def a_full_disk_refuses_writes_takes_deletes_and_goes_on_by_itself(_):
    full("fallocate", errno.ENOSPC)


@case
def a_used_up_quota_is_a_full_disk(_):
    full("fallocate", errno.EDQUOT)


@case
def a_write_that_finds_no_space_stays_unknown_until_another_file_is_there(_):
    def body(world, cls):
        idle(world)
        world.plan.arm("pwrite", errno.ENOSPC, STICKY)
        same(world.append(cls), "commit_unknown", "first write")
        same(world.append(cls), "storage_full", "second write")
        same(ready_to_write(world), "storage_full", "readiness to write")
        world.check()
        world.plan.clear()
        until(lambda: world.append(cls) == 200, what="a write once there is space")
        until(lambda: ready_to_write(world) == 200, what="readiness to write")
        world.check()
    each_class(body, ON_DISK)


@case
def a_next_file_that_cannot_be_made_once_is_made_at_the_next_try(_):
    def body(world, cls):
        for call, error in (("openat", errno.EMFILE), ("openat", errno.ENFILE), ("openat", errno.EIO), ("fallocate", errno.EIO), ("fsync", errno.EIO), ("fill", errno.EIO)):
            world.plan.arm(call, error, 1)
            seen = {world.append(cls, size=3000) for _ in range(60)}
            # Lack of descriptors may last, so it is not tried again at once.
            truth(seen <= ({200, "storage_full"} if error in (errno.EMFILE, errno.ENFILE) else {200}), "writes with %s giving %d: %r" % (call, error, seen))
            same(world.plan.failed(), 1, "failures of %s" % call)
            until(lambda: world.append(cls, size=3000) == 200, what="a write afterwards")
        world.check()
    each_class(body, ("disk",), TOPICS_SEGMENT_MAX_BYTES=64 << 10)


@case
def a_log_process_without_descriptors_refuses_and_goes_on_when_it_gets_some(_):
    def body(world, cls):
        idle(world)
        world.plan.arm("openat", errno.EMFILE, STICKY)
        fill(world, cls, "storage_full")
        until(lambda: world.plan.failed() >= 6, what="six tries")
        same(world.append(cls, size=3000), "storage_full", "second write")
        world.check()
        world.plan.clear()
        until(lambda: world.append(cls) == 200, what="a write once it has descriptors")
        world.check()
    each_class(body, ("disk",), TOPICS_SEGMENT_MAX_BYTES=64 << 10)


@case
def a_log_process_without_memory_refuses_and_goes_on(_):
    """Every allocation of a write in turn: it is refused or done, never half done, and nothing dies."""
    def body(world, cls):
        logd = world.server.logd()
        for n in range(12):
            idle(world)
            world.plan.arm("malloc", errno.ENOMEM, 1, after=n)
            seen = world.append(cls, size=100, count=100)
            truth(seen in (200, "storage_stalled"), "first write with allocation %d failing: %r" % (n, seen))
            world.plan.clear()
            same(world.append(cls), 200, "second write")
        world.check()
        same(world.server.logd(), logd, "the log process")
    each_class(body)


@case
def a_sync_that_hangs_holds_up_those_who_wait_for_it_alone(_):
    """FAULTS D9. The log's file is larger than the bound of unsynced frames, so that no new file stands in the way."""
    world = World(TOPICS_SEGMENT_MAX_BYTES=512 << 20)
    try:
        world.server.call("PUT", "/v0/topics/filler", {"durability": "memory"})  # not told to the oracle: it would be read back too often
        idle(world)
        world.plan.arm("fdatasync", HANG, STICKY)
        waits = []
        waiting = threading.Thread(target=lambda: waits.append(world.append("fsync")))
        waiting.start()
        until(lambda: world.plan.failed() > 0, what="a hanging sync")
        for cls in CLASSES[:3]:
            same([world.append(cls) for _ in range(3)], [200] * 3, "writes to %s meanwhile" % cls)
        truth(not waits, "the writer to fsync waits")
        waiting.join(20)
        same(waits, ["commit_unknown"], "what the writer to fsync sees")
        big = {"records": [{"data": "x" * 1000000}] * 16}
        for _ in range(20):
            answer = world.server.call("POST", "/v0/topics/filler", big)
            if answer.status != 200:
                break
        same((answer.status, answer.code), (429, "throttled"), "what is refused at the bound of unsynced frames")
        truth(int(answer.headers["retry-after"]) > 0, "Retry-After")
        same(world.server.call("POST", "/v0/topics/filler", big).code, "throttled", "a second one")
        for cls in CLASSES:
            same(world.read(cls)[3] > 0, True, "reads of %s" % cls)
        world.plan.clear()
        until(lambda: world.append("fsync") == 200, what="a synced write once the disk goes on")
        world.check()
        world.restart()
    finally:
        world.close()


@case
def a_writer_whose_sync_hangs_is_answered_however_many_writes_of_its_worker_are_meanwhile(_):
    def body(world):
        fillers = ["filler%d" % n for n in range(6)]  # not told to the oracle; several, so that none reaches its ceiling, whose next one is synced
        for name in fillers:
            world.server.call("PUT", "/v0/topics/" + name, {"durability": "memory"})
            same(world.server.call("POST", "/v0/topics/" + name, {"records": [{"data": 0}]}).status, 200, "a first write")
        idle(world)
        world.plan.arm("fdatasync", HANG, STICKY)
        waits = []

        def wait():
            began = time.monotonic()
            waits.append((world.append("fsync"), time.monotonic() - began))
        waiting = threading.Thread(target=wait)
        waiting.start()
        until(lambda: world.plan.failed() > 0, what="a hanging sync")
        link, at_once = Raw(world.server.port, timeout=20), 300
        for name in fillers * 10:
            link.send(post("/v0/topics/" + name, '{"records":[{"data":1}]}') * at_once)
            same({link.answer()[0] for _ in range(at_once)}, {200}, "writes to memory meanwhile")
        link.close()
        waiting.join(20)
        same([code for code, _ in waits], ["commit_unknown"], "what the writer to fsync sees")
        truth(waits[0][1] < 8, "it sees that after %.1f s" % waits[0][1])
        world.plan.clear()
        until(lambda: world.append("fsync") == 200, what="a synced write once the disk goes on")
        world.check()
    with_world(body, TOPICS_SEGMENT_MAX_BYTES=512 << 20)


@case
def the_service_manager_is_told_that_nothing_is_written_and_that_it_goes_on(_):
    root = tempfile.mkdtemp(prefix="topics-notify-")
    manager = Manager(os.path.join(root, "notify"))
    os.chmod(root, 0o755)
    world = World(NOTIFY_SOCKET=manager.name)
    try:
        manager.hear_until("READY=1")
        world.plan.arm("pwrite", errno.ENOSPC, STICKY)
        world.append("disk")
        same(manager.hear(), ["STATUS=the disk is full: reads go on, nothing is written"], "words")
        world.plan.clear()
        same(manager.hear(), ["STATUS=ready"], "words when there is space")
        world.plan.arm("pwrite", errno.EIO, STICKY)
        world.append("disk")
        same(manager.hear(), ["STATUS=writing to the disk failed for good: reads go on, nothing is written"], "words at the end")
    finally:
        world.close()
        manager.socket.close()
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(cases.main(lambda: None))
