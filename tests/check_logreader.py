#!/usr/bin/env python3
"""The independent reader of the format against golden images and against what a server serves after a kill."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import logreader  # noqa: E402
from harness import cases  # noqa: E402
from harness.cases import case, same, truth  # noqa: E402
from harness.server import Server  # noqa: E402
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
def a_killed_server_serves_after_its_start_what_the_reader_found(_):
    server = Server(settings={"TOPICS_SEGMENT_MAX_BYTES": 65536}).start()
    try:
        for n in range(120):
            server.call("POST", "/v0/topics/t%d" % (n % 3), {"records": [{"data": {"n": n, "i": i}, "tag": "x"} for i in range(n % 70 + 1)]})
        server.call("PATCH", "/v0/topics/t1", {"ttl_ms": 77, "dead_letter": "dlq"})
        server.call("DELETE", "/v0/topics/t2")
        server.kill_all()
        image = logreader.read(server.data)
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
