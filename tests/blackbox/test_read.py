#!/usr/bin/env python3
"""Reads: pages, filters, tombstones, single records."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness import cases  # noqa: E402
from harness.api import append, diff, fresh, refused  # noqa: E402
from harness.cases import case, same, truth  # noqa: E402
from harness.server import Server  # noqa: E402


@case
def tags_and_nodes_are_shown_as_asked_and_filter(s):
    name = fresh()
    s.call("POST", "/v0/topics/" + name, {"records": [{"data": 1, "tag": "", "node": "a"}, {"data": 2, "tag": "é\"\\\n"}, {"data": 3, "node": ""}, {"data": 4}], "node": "b"})
    records = diff(s, name, include_tags=True)["records"]
    same([(r.get("$tag"), r["$node"]) for r in records], [("", "a"), ("é\"\\\n", "b"), (None, ""), (None, "b")], "tags and nodes")
    truth(all("$tag" not in r for r in diff(s, name)["records"]), "tags only when asked for")
    page = diff(s, name, node=["a", ""], limit=1)
    same(([r["data"] for r in page["records"]], page["next_from_seq"]), ([2], 2), "filtered page")
    same([r["data"] for r in diff(s, name, node="b")["records"]], [1, 3], "one node")
    for bad in (5, [5], ["a", None], {}):
        refused(s.call("POST", "/v0/topics/%s/diff" % name, {"node": bad}), 400, "invalid_request")
    s.call("PATCH", "/v0/topics/" + name, {"dedupe_node": False})
    same(len(diff(s, name, node="b")["records"]), 4, "filtering turned off")


@case
def pages_follow_limit_and_bytes_and_say_when_caught_up(s):
    name = fresh()
    append(s, name, *["x" * 98 for _ in range(50)])
    page = diff(s, name, limit=20)
    same((len(page["records"]), page["next_from_seq"], page["caught_up"], page["lag"]), (20, 20, False, 30), "first page")
    page = diff(s, name, from_seq=20, limit=30)
    same((len(page["records"]), page["caught_up"], page["lag"]), (30, True, 0), "to the head")
    same(len(diff(s, name, max_batch_bytes=250)["records"]), 2, "bytes")
    same(len(diff(s, name, max_batch_bytes=1)["records"]), 1, "the first is always delivered")
    same([r["$seq"] for r in diff(s, name, from_seq=49)["records"]], [50], "exclusive")
    for bad in ({"from_seq": -1}, {"from_seq": "1"}, {"from_seq": None}, {"limit": 1.5}, {"include_tags": 1}, {"wait_ms": True}, {"epoch": 5}):
        refused(s.call("POST", "/v0/topics/%s/diff" % name, bad), 400, "invalid_request")
    same(len(s.call("POST", "/v0/topics/%s/diff" % name, body=b'{"limit":5}', headers={"Content-Type": "application/x-www-form-urlencoded"}).json["records"]), 5, "as bare curl -d")
    refused(s.call("POST", "/v0/topics/%s/diff" % fresh(), {}), 404, "topic_not_found")


@case
def every_seq_of_mixed_batches_is_read_at_every_cursor(s):
    name = fresh()
    s.call("PUT", "/v0/topics/" + name, {"durability": "memory"})
    total = 0
    for count in (1, 64, 65, 2, 200, 1, 130, 63, 1000):
        append(s, name, *range(total + 1, total + count + 1))
        total += count
    for start in list(range(0, 140)) + list(range(325, total, 97)) + [total - 1]:
        page = diff(s, name, from_seq=start, limit=70)
        same([r["data"] for r in page["records"]], list(range(start + 1, min(total, start + 70) + 1)), "records after %d" % start)


@case
def get_records_and_single_records_agree_with_diff(s):
    name = fresh()
    s.call("POST", "/v0/topics/" + name, {"records": [{"data": i, "tag": "t", "meta": {"i": i}} for i in range(5)]})
    same(s.call("GET", "/v0/topics/%s/records?from_seq=2&limit=2&include_tags=true" % name).json["records"], diff(s, name, from_seq=2, limit=2, include_tags=True)["records"], "records")
    one = s.call("GET", "/v0/topics/%s/records/4" % name)
    same((one.json["$seq"], one.json["data"], one.json["meta"]), (4, 3, {"i": 3}), "one")
    refused(s.call("GET", "/v0/topics/%s/records/6" % name), 404, "not_found")
    refused(s.call("GET", "/v0/topics/%s/records/0" % name), 404, "not_found")
    for bad in ("x", "-1", "1.0", "99999999999999999999999"):
        refused(s.call("GET", "/v0/topics/%s/records/%s" % (name, bad)), 400, "invalid_request")
    refused(s.call("GET", "/v0/topics/%s/records?limit=x" % name), 400, "invalid_request")
    same(s.call("GET", "/v0/topics/%s/records?from_seq=4&wait_ms=20000" % name).status, 200, "wait_ms is answered at once")


if __name__ == "__main__":
    sys.exit(cases.main(lambda: Server().start(), lambda server: server.close()))
