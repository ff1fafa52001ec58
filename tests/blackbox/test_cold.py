#!/usr/bin/env python3
"""Reads of what is not in memory, on a device that is slow or broken; and long reads among short ones. One worker, so that whoever would be held up is held up."""

import glob
import os
import select
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness import cases  # noqa: E402
from harness.api import append, diff, fresh, refused  # noqa: E402
from harness.cases import case, same, truth  # noqa: E402
from harness.counters import counter  # noqa: E402
from harness.raw import Raw, post, request  # noqa: E402
from harness.server import Server, until  # noqa: E402
from harness.slow_disk import SlowDisk  # noqa: E402

ONE = {"TOPICS_WORKERS": 1}


class OnSlowDisk:
    """A server whose data lies on a device that does as it is told."""

    def __enter__(self):
        self.disk = SlowDisk()
        self.s = Server(data=os.path.join(self.disk.path, "data"), settings=ONE).start()
        return self.s, self.disk

    def __exit__(self, *problem):
        self.disk.fail(None)
        self.disk.release()
        self.s.close()
        self.disk.close()


def ask(s, topic, question="{}"):
    return Raw(s.port, 60).send(post("/v0/topics/%s/diff" % topic, question))


def answered(link):
    return bool(select.select([link.socket], [], [], 0)[0])


@case
def readers_of_a_slow_device_slow_no_other_client_of_their_worker(_):
    with OnSlowDisk() as (s, disk):
        old, quick = fresh(), fresh()
        append(s, old, *["x" * 1000 + str(i) for i in range(50)])
        s.call("PUT", "/v0/topics/" + quick, {"durability": "ephemeral"})
        disk.hold()
        readers = [ask(s, old) for _ in range(12)]
        until(disk.held, what="a read that the device holds")
        for i in range(1, 101):
            same(append(s, quick, i).json["last_seq"], i, "append")
            same(diff(s, quick, from_seq=i - 1)["records"][0]["data"], i, "read")
        same(append(s, old, "new").status, 200, "append to the slow device's topic")
        same(s.call("GET", "/v0/topics/" + old).json["head_seq"], 51, "its state")
        truth(disk.held() and not any(answered(link) for link in readers), "the device was slow all the while")
        disk.release()
        for link in readers:
            status, _, body = link.answer()
            truth(status == 200 and body.count(b'"$seq"') in (50, 51) and b"x49\"" in body, "%d %r" % (status, body[:200]))


@case
def a_client_that_leaves_while_the_device_holds_its_read_disturbs_nobody(_):
    with OnSlowDisk() as (s, disk):
        name = fresh()
        append(s, name, *range(10))
        worker = s.workers()
        disk.hold()
        for _ in range(20):
            link = ask(s, name)
            until(disk.held, what="a read that the device holds")
            link.close()
        until(lambda: counter(s, "connections") == 0, what="the connections to be gone")
        disk.release()
        same([r["data"] for r in diff(s, name)["records"]], list(range(10)), "records")
        same(s.workers(), worker, "the worker")


@case
def a_read_that_the_device_holds_for_good_is_refused_and_the_next_one_served(_):
    with OnSlowDisk() as (s, disk):
        name = fresh()
        append(s, name, 1)
        disk.hold()
        refused(s.call("POST", "/v0/topics/%s/diff" % name, {}), 503, "storage_failed")
        refused(s.call("GET", "/v0/topics/%s/records/1" % name), 503, "storage_failed")
        disk.release()
        same(diff(s, name)["records"][0]["data"], 1, "record")


@case
def a_stop_while_the_device_holds_a_read_answers_it_when_it_comes(_):
    with OnSlowDisk() as (s, disk):
        name = fresh()
        append(s, name, 1)
        disk.hold()
        link, idle = ask(s, name), Raw(s.port, 20)
        until(disk.held, what="a read that the device holds")
        s.process.terminate()
        truth(idle.closed(), "an idle connection is closed by the stop")
        disk.release()
        status, _, body = link.answer()
        truth(status == 200 and b'"data":1' in body, "%d %r" % (status, body))
        same(s.process.wait(20), 0, "exit status")


@case
def a_read_error_is_503_then_announced_and_nothing_else_is_lost(_):
    with OnSlowDisk() as (s, disk):
        name, other = fresh(), fresh()
        for batch in range(3):
            append(s, name, *["%d-" % batch + "y" * 300000 for _ in range(4)])
        append(s, other, "fine")
        worker = s.workers()
        file = max(glob.glob(os.path.join(disk.backing, "data", "w*")), key=lambda path: open(path, "rb").read().count(b"1-yyyy"))
        bad = open(file, "rb").read().index(b"1-yyyy")
        disk.fail(lambda name, offset, size: name == os.path.basename(file) and offset <= bad < offset + size)
        page = diff(s, name)
        same(([r["$seq"] for r in page["records"]], page["tombstone"], page["caught_up"]), ([1, 2, 3, 4][:len(page["records"])], None, False), "what comes before")
        truth(page["records"], "records before the bad place")
        refused(s.call("POST", "/v0/topics/%s/diff" % name, {"from_seq": 4}), 503, "storage_failed")
        same(diff(s, other)["records"][0]["data"], "fine", "another topic")

        def announced():
            answer = s.call("POST", "/v0/topics/%s/diff" % name, {"from_seq": 4})
            return answer.json if answer.status == 200 else refused(answer, 503, "storage_failed") and None
        page = until(announced, what="the announcement")
        gap = page["tombstone"]
        same((gap["gap_from"], gap["reason"], page["records"]), (5, "io_error", []), "tombstone")
        truth(gap["gap_to"] <= 8, "not more than the batch: %r" % gap)
        cursor, seqs, gaps = 4, [], []
        while cursor < 12:
            answer = s.call("POST", "/v0/topics/%s/diff" % name, {"from_seq": cursor})
            if answer.status == 503:
                continue
            page = answer.json
            seqs += [r["$seq"] for r in page["records"]]
            gaps += list(range(page["tombstone"]["gap_from"], page["tombstone"]["gap_to"] + 1)) if page["tombstone"] else []
            cursor = page["next_from_seq"]
        same(sorted(seqs + gaps), list(range(5, 13)), "every seq once, read or announced")
        truth(set(range(9, 13)) <= set(seqs), "what lies behind is read: %r, gone: %r" % (seqs, gaps))
        disk.fail(None)
        page = diff(s, name, from_seq=4)
        same((page["tombstone"], page["records"][0]["$seq"]), (None, 5), "after the disk was mended")
        same(s.workers(), worker, "the worker")


@case
def what_left_the_page_cache_is_read_as_it_was_written(_):
    s = Server(settings=ONE).start()
    try:
        name = fresh()
        for batch in range(8):
            append(s, name, *["%d-%d-" % (batch, i) + "z" * 2000 for i in range(100)])
        until(lambda: s.call("GET", "/v0/topics/" + name).json["durable_seq"] == 800, what="the sync")
        want = diff(s, name, limit=1000, max_batch_bytes=8 << 20)["records"]
        before = counter(s, "cold_reads_total")

        def read_cold():
            """The kernel may keep pages that it is writing, so this is tried again."""
            for path in glob.glob(os.path.join(s.data, "w*")):
                fd = os.open(path, os.O_RDONLY)
                os.fsync(fd)
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
                os.close(fd)
            same(diff(s, name, limit=1000, max_batch_bytes=8 << 20)["records"], want, "records")
            return counter(s, "cold_reads_total") > before
        until(read_cold, what="a read off the loop")
        before = counter(s, "cold_reads_total")
        same(diff(s, name, limit=1000, max_batch_bytes=8 << 20)["records"], want, "records")
        same(counter(s, "cold_reads_total"), before, "reads off the loop of what is in memory")
    finally:
        s.close()


@case
def a_read_that_examines_much_lets_others_have_their_turn(_):
    s = Server(settings=ONE).start()
    try:
        name = fresh()
        s.call("PUT", "/v0/topics/" + name, {"durability": "memory"})
        for _ in range(15):
            s.call("POST", "/v0/topics/" + name, {"node": "me", "records": [{"data": "x" * 100}] * 10000}, timeout=60)
        page = diff(s, name, node="me")
        same((page["records"], page["next_from_seq"], page["caught_up"], page["performance"]["records_scanned"]), ([], 100000, False, 100000), "page")
        first = 0
        for _ in range(20):
            long, short = ask(s, name, '{"node": "me"}'), Raw(s.port, 60).send(request("GET", "/v0/health"))
            select.select([long.socket, short.socket], [], [], 20)
            first += not answered(long)
            same((long.answer()[0], short.answer()[0]), (200, 200), "status")
            long.close(), short.close()
        truth(first >= 17, "the short one came first in %d of 20" % first)
    finally:
        s.close()


if __name__ == "__main__":
    if not SlowDisk.available():
        print("skipped: /dev/fuse cannot be used here (this needs root)")
        sys.exit(77)
    sys.exit(cases.main(lambda: None))
