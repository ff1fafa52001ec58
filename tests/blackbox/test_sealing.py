#!/usr/bin/env python3
"""Sealed files: every record byte for byte, while files seal under writers and readers, after every kind of end, and with footers that are damaged (FAULTS C5)."""

import os
import random
import shutil
import struct
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import logfooter  # noqa: E402
import logreader  # noqa: E402
from harness import cases  # noqa: E402
from harness.cases import case, same, truth  # noqa: E402
from harness.counters import counter  # noqa: E402
from harness.server import Server, until  # noqa: E402
from harness.slow_disk import SlowDisk  # noqa: E402
from kills.oracle import raw_records  # noqa: E402

SEGMENT = 8192
SEED = int(os.environ.get("TOPICS_TEST_SEED", "0")) or random.randrange(1 << 30)


def data_of(name, seq):
    """The bytes of a record follow from where it stands."""
    return b'{"t":"%s","n":%d,"x":"%s\\u00e9"}' % (name.encode(), seq, b"abcdefghij"[seq % 10:seq % 10 + 1] * (seq * 7919 % 150))


class Topics:
    """Topics with one writer each: what was acked is known by name and number alone."""

    def __init__(self, server, names, rng):
        self.server, self.rng = server, rng
        self.heads = dict.fromkeys(names, 0)

    def append(self, name, count):
        first = self.heads[name] + 1
        records = [b'{"data":%s%s}' % (data_of(name, seq), b',"tag":"t%d"' % (seq % 5) if seq % 3 else b"") for seq in range(first, first + count)]
        key = b',"idempotency_key":"k%d"' % first if first % 4 == 0 else b""
        answer = self.server.call("POST", "/v0/topics/" + name, body=b'{"records":[%s]%s}' % (b",".join(records), key), headers={"Content-Type": "application/json"})
        same(answer.status, 200, "append to %s: %r" % (name, answer))
        same(answer.json["first_seq"], first, "first seq of %s" % name)
        self.heads[name] = first + count - 1

    def read(self, name, cursor, limit):
        """A page behind the cursor holds what was written, without a gap; returns where it ended."""
        acked = self.heads[name]
        answer = self.server.call("POST", "/v0/topics/%s/diff" % name, {"from_seq": cursor, "limit": limit})
        same(answer.status, 200, "diff of %s: %r" % (name, answer))
        same(answer.json["tombstone"], None, "tombstone of %s after %d" % (name, cursor))
        found = raw_records(answer.body)
        for at, (seq, data) in enumerate(found):
            same((seq, data), (cursor + 1 + at, data_of(name, cursor + 1 + at)), "record %d of %s" % (cursor + 1 + at, name))
        truth(len(found) >= min(limit, acked - cursor) or answer.json["next_from_seq"] == cursor + len(found) > cursor, "page of %s after %d is short" % (name, cursor))
        return cursor + len(found)

    def read_all(self, names=None):
        for name in names or self.heads:
            cursor = 0
            while cursor < self.heads[name]:
                after = self.read(name, cursor, self.rng.choice((7, 100, 1000)))
                truth(after > cursor, "%s stands still at %d" % (name, cursor))
                cursor = after


def sealed_files(directory):
    found = []
    for name in sorted(os.listdir(directory)):
        if name[0] == "w":
            with open(os.path.join(directory, name), "rb") as f:
                if f.read(64) and f.seek(0, os.SEEK_END) > 1024:
                    f.seek(-64, os.SEEK_END)
                    if f.read(8) == logfooter.FOOTER_MAGIC:
                        found.append(os.path.join(directory, name))
    return found


def footers_agree(directory):
    image = logreader.read(directory)
    wrong = {"%016x" % id: what for id, what in image.footers.items() if what}
    same(wrong, {}, "footers against their frames")
    return image


class Crew:
    """Threads that work until told to stop; the first problem of any of them is raised at the end."""

    def __init__(self, *jobs):
        self.stop, self.problem = threading.Event(), None
        self.threads = [threading.Thread(target=self._run, args=(job,)) for job in jobs]
        for thread in self.threads:
            thread.start()

    def _run(self, job):
        try:
            while not self.stop.is_set():
                job()
        except BaseException as problem:
            self.problem = self.problem or problem
            self.stop.set()

    def end(self):
        self.stop.set()
        for thread in self.threads:
            thread.join()
        if self.problem is not None:
            raise self.problem


def configured(server, classes):
    names = []
    for i, durability in enumerate(classes):
        names.append("%s-%d" % (durability, i))
        same(server.call("PUT", "/v0/topics/" + names[-1], {"durability": durability}).status, 201, "create")
    return names


def busy(server, topics, seconds, files):
    """Writers and readers at random cursors, at least until so many files are sealed."""
    names = list(topics.heads)
    rngs = [random.Random("%d %d" % (SEED, i)) for i in range(5)]

    def writer(i):
        mine = names[i::2]
        return lambda: topics.append(rngs[i].choice(mine), rngs[i].randrange(1, 25))

    def reader(i):
        def job():
            name = rngs[i].choice(names)
            if topics.heads[name]:
                topics.read(name, rngs[i].randrange(topics.heads[name]), rngs[i].choice((1, 3, 20, 300)))
        return job
    crew = Crew(writer(0), writer(1), reader(2), reader(3), reader(4))
    end = time.monotonic() + seconds
    try:
        until(lambda: crew.stop.is_set() or (time.monotonic() > end and len(sealed_files(server.data)) >= files), 90, "%d sealed files" % files)
    finally:
        crew.end()


@case
def files_that_seal_under_writers_and_readers_lose_nothing_whatever_ends(_):
    server = Server(settings={"TOPICS_SEGMENT_MAX_BYTES": SEGMENT}).start()
    try:
        kept = configured(server, ["memory", "disk", "fsync"] * 6)
        gone = configured(server, ["ephemeral"] * 2)
        topics = Topics(server, kept + gone, random.Random(SEED))
        busy(server, topics, 3, 40)
        topics.read_all()
        os.kill(server.logd(), 9)
        busy_after_death(server)
        topics.read_all()
        busy(server, topics, 1, 60)
        server.kill_all()
        footers_agree(server.data)
        server.start()
        for name in gone:
            del topics.heads[name]
        topics.read_all()
        busy(server, topics, 1, 80)
        same(server.stop(), 0, "exit status")
        image = footers_agree(server.data)
        truth(len(image.footers) >= 70, "only %d files are sealed" % len(image.footers))
        server.start()
        topics.read_all()
        busy(server, topics, 1, 90)
        topics.read_all()
    finally:
        server.close()


def busy_after_death(server):
    until(lambda: server.call("GET", "/v0/ready").status == 200, what="readiness after logd's death")


@case
def topic_that_was_ephemeral_in_between_is_read_through_all_its_files(_):
    server = Server(settings={"TOPICS_SEGMENT_MAX_BYTES": SEGMENT}).start()
    try:
        topics = Topics(server, configured(server, ["disk", "memory"]), random.Random(SEED))
        changing, other = list(topics.heads)
        for round in range(12):
            durability = ("disk", "ephemeral", "memory", "ephemeral")[round % 4]
            same(server.call("PATCH", "/v0/topics/" + changing, {"durability": durability}).status, 200, "change of class")
            for _ in range(6):
                topics.append(changing, 1 + round)
                topics.append(other, 20)
        until(lambda: len(sealed_files(server.data)) >= 8, what="sealed files")
        topics.read_all()
        for cursor in range(topics.heads[changing]):
            topics.read(changing, cursor, 3)
    finally:
        server.close()


# ---- damage ----

def flip(rng, raw, start, end):
    at = rng.randrange(start, end)
    raw[at] ^= 1 << rng.randrange(8)


def section(raw, offset, type):
    """[from, to) of the bytes of this section."""
    at = offset
    while True:
        kind, _, size = struct.unpack_from("<IIQ", raw, at)
        if kind == type:
            return at + 16, at + 16 + size
        at += 16 + (size + 7) // 8 * 8


def flip_in_section(type):
    def damage(rng, raw, offset):
        start, end = section(raw, offset, type)
        for _ in range(3 if end > start else 0):
            flip(rng, raw, start, end)
    return damage


def every_extent(rng, raw, offset):
    start, end = section(raw, offset, 1)
    for at in range(start, end, 64):
        flip(rng, raw, at, at + 64)


DAMAGES = {
    "trailer": lambda rng, raw, offset: flip(rng, raw, len(raw) - 64, len(raw)),
    "first section's head": lambda rng, raw, offset: flip(rng, raw, offset, offset + 16),
    "an extent": flip_in_section(1),
    "every extent": every_extent,
    "tags": flip_in_section(2),
    "keys": flip_in_section(3),
    "control entries": flip_in_section(4),
    "topics": flip_in_section(5),
    "cut in the middle": lambda rng, raw, offset: raw.__delitem__(slice(rng.randrange(offset, len(raw)), None)),
    "cut off": lambda rng, raw, offset: raw.__delitem__(slice(offset, None)),
    "zeros": lambda rng, raw, offset: raw.__setitem__(slice(offset, None), bytes(len(raw) - offset)),
    "garbage": lambda rng, raw, offset: raw.__setitem__(slice(offset, None), rng.randbytes(len(raw) - offset)),
    "more behind it": lambda rng, raw, offset: raw.extend(bytes(rng.randrange(8, 600))),
}


def damage_all(directory, damage, rng, share=1.0):
    """In place: a worker that has a file open sees it."""
    for path in sealed_files(directory):
        with open(path, "r+b") as f:
            raw = bytearray(f.read())
            if rng.random() < share:
                damage(rng, raw, struct.unpack_from("<Q", raw, len(raw) - 56)[0])
            f.seek(0)
            f.write(raw)
            f.truncate(len(raw))


def filled(rng, end):
    """A directory with sealed files, left by this end; the topics, and the server whose it was."""
    server = Server(settings={"TOPICS_SEGMENT_MAX_BYTES": SEGMENT}).start()
    topics = Topics(server, configured(server, ["memory", "disk", "fsync"] * 3), rng)
    while len(sealed_files(server.data)) < 12:
        topics.append(rng.choice(list(topics.heads)), rng.randrange(1, 30))
    doomed = server.call("PUT", "/v0/topics/doomed", {}).status
    same((doomed, server.call("DELETE", "/v0/topics/doomed").status), (201, 200), "a topic that comes and goes")
    end(server)
    return server, topics


def starts_and_serves_all(server, topics):
    server.start()
    topics.read_all()
    for name in topics.heads:
        state = server.call("GET", "/v0/topics/" + name).json
        same((state["head_seq"], state["count"], state["earliest_seq"]), (topics.heads[name], topics.heads[name], 1), "numbers of " + name)
    same(server.call("GET", "/v0/topics/doomed").status, 404, "a deleted topic")


def damaged_footers_cost_nothing(end):
    rng = random.Random(SEED)
    server, topics = filled(rng, end)
    heads, kept = dict(topics.heads), os.path.join(server.root, "kept")
    try:
        shutil.copytree(server.data, kept)
        for what, damage in DAMAGES.items():
            # Back into the same directory: in another one the start would take this for the end of a machine.
            for name in os.listdir(server.data):
                os.unlink(os.path.join(server.data, name))
            shutil.copytree(kept, server.data, dirs_exist_ok=True)
            topics.heads = dict(heads)
            damage_all(server.data, damage, rng, rng.choice((0.3, 1.0)))
            try:
                starts_and_serves_all(server, topics)
                topics.append(rng.choice(list(heads)), 5)
                server.kill_all()
                starts_and_serves_all(server, topics)
                server.kill_all()
            except AssertionError as problem:
                raise AssertionError("%s: %s (seed %d)" % (what, problem, SEED))
    finally:
        server.close()


@case
def footers_damaged_after_a_kill_cost_no_record(_):
    damaged_footers_cost_nothing(lambda server: server.kill_all())


@case
def footers_damaged_after_a_clean_stop_cost_no_record(_):
    damaged_footers_cost_nothing(lambda server: same(server.stop(), 0, "exit status"))


@case
def footer_that_is_damaged_under_readers_costs_no_record(_):
    rng = random.Random(SEED)
    server, topics = filled(rng, lambda s: None)
    try:
        topics.read_all()
        same(counter(server, "index_failures_total"), 0, "look-ups without an index")
        damage_all(server.data, every_extent, rng)
        topics.read_all()
        for name, head in topics.heads.items():
            for _ in range(20 if head else 0):
                topics.read(name, rng.randrange(head), 5)
        truth(counter(server, "index_failures_total") > 0, "nothing tells of the damage")
    finally:
        server.close()


@case
def sealed_files_are_read_where_every_read_waits_for_the_device(_):
    rng, disk = random.Random(SEED), SlowDisk()
    server = Server(data=os.path.join(disk.path, "data"), settings={"TOPICS_SEGMENT_MAX_BYTES": SEGMENT, "TOPICS_WORKERS": 1}).start()
    backing = os.path.join(disk.backing, "data")
    try:
        topics = Topics(server, configured(server, ["memory", "disk"] * 3), rng)
        while len(sealed_files(backing)) < 12:
            topics.append(rng.choice(list(topics.heads)), rng.randrange(1, 30))
        topics.read_all()
        truth(counter(server, "cold_reads_total") > len(sealed_files(backing)), "reads were not handed to threads")
        damage_all(backing, every_extent, rng)
        topics.read_all()
        truth(counter(server, "index_failures_total") > 0, "nothing tells of the damage")
    finally:
        server.close()
        disk.close()


if __name__ == "__main__":
    print("TOPICS_TEST_SEED=%d" % SEED)
    sys.exit(cases.main(lambda: None))
