#!/usr/bin/env python3
"""The independent reader of the format against golden images and against what a server serves after a kill."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import logfooter  # noqa: E402
import logreader  # noqa: E402
from harness import cases  # noqa: E402
from harness.cases import case, same, truth  # noqa: E402
from harness.server import Server, until  # noqa: E402
from kills.oracle import raw_records  # noqa: E402

GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden")


@case
def crc32c_of_the_check_string_is_that_of_the_format(_):
    same(logreader.crc32c(b"123456789"), 0xE3069283)


def golden(name, seqs, topics=("audit", "orders")):
    image = logreader.read(os.path.join(GOLDEN, name))
    same(sorted(image.topics), list(topics), "topics of " + name)
    same(sorted(image.topics["orders"].records), seqs, "seqs of orders in " + name)
    return image


@case
def golden_killed_image_reads_with_the_frames_that_no_sync_covered(_):
    golden("killed", list(range(1, 11)))


@case
def golden_recovered_image_reads_with_the_copied_tail_and_what_came_after(_):
    golden("recovered", list(range(1, 14)))


@case
def golden_image_with_a_void_reads_without_the_broken_frame(_):
    golden("void", [1, 2, 3, 4, 8, 9, 10])


@case
def golden_clean_image_reads_up_to_its_last_mark_with_the_topics_of_its_checkpoint(_):
    same(golden("clean", [1, 2, 3, 4], ["orders"]).damage, [], "damage")


@case
def golden_sealed_image_reads_like_the_others_and_its_footers_say_what_its_frames_say(_):
    image = golden("sealed", [1, 2, 3, 4])
    same(list(image.footers.values()), [[], []], "differences of footers")
    footer = logfooter.Footer(image.files[min(image.footers, key=lambda id: image.files[id].number)], logreader.crc32c)
    truth(footer.tags() and footer.keys() and footer.controls() and footer.extents() and footer.topics(), "a section is empty")


@case
def a_flipped_bit_below_the_frontier_costs_that_frame_alone(_):
    import shutil
    import tempfile
    root = tempfile.mkdtemp(prefix="topics-test-")
    try:
        copy = os.path.join(root, "image")
        shutil.copytree(os.path.join(GOLDEN, "killed"), copy)
        before = logreader.read(copy)
        file = max((f for f in before.files.values() if f.valid and f.first_lsn > 512), key=lambda f: -f.first_lsn)
        raw = bytearray(file.bytes)
        raw[512 + 20] ^= 4
        with open(os.path.join(copy, file.name), "wb") as f:
            f.write(raw)
        after = logreader.read(copy)
        same(len(after.damage), len(before.damage) + 1, "places of damage")
        truth(after.frames == before.frames - 1, "%d frames are left of %d" % (after.frames, before.frames))
    finally:
        shutil.rmtree(root)


@case
def a_footer_that_says_something_else_than_its_frames_is_told(_):
    import struct
    server = Server(settings={"TOPICS_SEGMENT_MAX_BYTES": 8192}).start()
    try:
        for n in range(60):
            server.call("POST", "/v0/topics/t", {"records": [{"data": n, "tag": "x%d" % (n % 3)} for _ in range(8)], "idempotency_key": str(n)})

        def oldest():
            """It has the creation of the topic, so that no section is empty."""
            image = logreader.read(server.data)
            return min(image.footers, key=lambda id: image.files[id].number, default=None)
        until(oldest, what="a sealed file")
        server.kill_all()
        sealed = oldest()
        path = os.path.join(server.data, "w%016x" % sealed)
        with open(path, "rb") as f:
            raw = f.read()
        start, = struct.unpack_from("<Q", raw, len(raw) - 56)
        for wanted, section, at in (("extents", 1, 32), ("tags", 2, 24 + 24 + 8), ("keys", 3, 40), ("control entries", 4, 8), ("topics", 5, 48)):
            with open(path, "wb") as f:
                f.write(changed(raw, start, section, at, sealed))
            truth(wanted in logreader.read(server.data).footers[sealed], "%s that differ are not told" % wanted)
    finally:
        server.close()


def changed(raw, footer, wanted, at, id):
    """One byte of the first element of a section another, and all checksums right again."""
    import struct
    raw, offset, heads = bytearray(raw), footer, b""
    for type in range(1, 6):
        size, = struct.unpack_from("<Q", raw, offset + 8)
        if type == wanted:
            raw[offset + 16 + at] ^= 1
            if type == 4:
                entry, = struct.unpack_from("<I", raw, offset + 16 + 28)
                covered = bytes(raw[offset + 16:offset + 36]) + bytes(raw[offset + 40:offset + 40 + entry])
                struct.pack_into("<I", raw, offset + 36, logreader.crc32c(struct.pack("<Q", id) + covered))
            else:
                first = {1: 0, 2: 48, 3: 0, 5: 0}[type]
                end = {1: 64, 2: 72, 3: 56, 5: 72}[type]
                crc = logreader.crc32c(struct.pack("<Q", id) + bytes(raw[offset + 16 + first:offset + 16 + end - 4]))
                struct.pack_into("<I", raw, offset + 16 + end - 4, crc)
            struct.pack_into("<I", raw, offset + 4, logreader.crc32c(bytes(raw[offset + 16:offset + 16 + size])))
        heads += bytes(raw[offset:offset + 16])
        offset += 16 + (size + 7) // 8 * 8
    struct.pack_into("<I", raw, len(raw) - 16, logreader.crc32c(heads))
    struct.pack_into("<I", raw, len(raw) - 4, logreader.crc32c(bytes(raw[-64:-4])))
    return bytes(raw)


@case
def a_killed_server_serves_after_its_start_what_the_reader_found(_):
    server = Server(settings={"TOPICS_SEGMENT_MAX_BYTES": 65536}).start()
    try:
        for n in range(120):
            server.call("POST", "/v0/topics/t%d" % (n % 3), {"records": [{"data": {"n": n, "i": i}, "tag": "x"} for i in range(n % 70 + 1)]})
        server.call("PATCH", "/v0/topics/t1", {"ttl_ms": 77, "dead_letter": "dlq"})
        server.call("DELETE", "/v0/topics/t2")
        server.kill_all()
        image = logreader.read(server.data)
        truth(len(image.footers) >= 1, "%d files are sealed" % len(image.footers))
        same([wrong for wrong in image.footers.values() if wrong], [], "footers against their frames")
        server.start()
        same(sorted(image.topics), ["t0", "t1"], "topics")
        for name, topic in image.topics.items():
            state = server.call("GET", "/v0/topics/" + name).json
            same(topic.config, state["config"], "configuration of " + name)
            same(topic.head, state["head_seq"], "head of " + name)
            served, cursor = {}, 0
            while cursor < topic.head:
                answer = server.call("POST", "/v0/topics/%s/diff" % name, {"from_seq": cursor, "limit": 1000})
                served.update(raw_records(answer.body))
                cursor = answer.json["next_from_seq"]
            same(topic.records, served, "records of " + name)
    finally:
        server.close()


if __name__ == "__main__":
    sys.exit(cases.main(lambda: None))
