#!/usr/bin/env python3
"""Topics: configuration, state, lists, deletion."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness import cases  # noqa: E402
from harness.api import append, diff, fresh, refused, text  # noqa: E402
from harness.cases import case, same, truth  # noqa: E402
from harness.server import Server  # noqa: E402

DEFAULTS = {"type": "log", "durability": "disk", "durable": False, "ttl_ms": 0, "cap_records": 0, "cap_bytes": 0, "discard": "old", "priority": None,
            "auto_priority": True, "auto_create": True, "idempotency_window_ms": 120000, "dedupe_node": True, "lease_ms": 30000, "claim_jitter_ms": 0,
            "max_deliveries": 0, "dead_letter": None, "leases_durable": False}


@case
def put_of_an_absent_topic_creates_it_with_every_default(s):
    name = fresh()
    answer = s.call("PUT", "/v0/topics/" + name, {})
    same(answer.status, 201, "status")
    same({k: answer.json[k] for k in ("topic", "created", "config")}, {"topic": name, "created": True, "config": DEFAULTS}, "answer")
    same(s.call("PUT", "/v0/topics/" + name).status, 200, "second PUT, without a body")


@case
def an_empty_body_is_an_empty_object_whatever_its_type_where_it_may_be_empty(s):
    types = ("application/x-www-form-urlencoded", "text/plain", "application/json")
    name = fresh()
    for kind in types:
        answer = s.call("PUT", "/v0/topics/" + name, body=b"", headers={"Content-Type": kind})
        same((answer.status, answer.json["config"]), (201 if kind == types[0] else 200, DEFAULTS), "PUT as " + kind)
        same(s.call("POST", "/v0/topics/%s/diff" % name, body=b"", headers={"Content-Type": kind}).status, 200, "diff as " + kind)
        chunked = {"Content-Type": kind, "Transfer-Encoding": "chunked"}
        same(s.call("PUT", "/v0/topics/" + name, body=b"0\r\n\r\n", headers=chunked).status, 200, "PUT, chunked, as " + kind)
        same(s.call("POST", "/v0/topics/%s/diff" % name, body=b"0\r\n\r\n", headers=chunked).status, 200, "diff, chunked, as " + kind)
    refused(s.call("PUT", "/v0/topics/" + name, body=b"{}", headers={"Content-Type": types[0]}), 415, "unsupported_media_type")
    refused(s.call("POST", "/v0/topics/%s/diff" % name, body=b"{}", headers={"Content-Type": "text/plain"}), 415, "unsupported_media_type")
    for method, tail in (("POST", ""), ("PATCH", ""), ("POST", "/ack"), ("POST", "/nack"), ("POST", "/delete")):
        refused(s.call(method, "/v0/topics/" + name + tail, body=b"", headers={"Content-Type": "text/plain"}), 415, "unsupported_media_type")


@case
def put_replaces_and_patch_keeps_what_is_omitted(s):
    name = fresh()
    s.call("PUT", "/v0/topics/" + name, {"ttl_ms": 5, "priority": -3, "dead_letter": "d"})
    same(s.call("PATCH", "/v0/topics/" + name, {"cap_records": 9}).json["config"], dict(DEFAULTS, ttl_ms=5, priority=-3, dead_letter="d", cap_records=9), "patched")
    same(s.call("PATCH", "/v0/topics/" + name, {"priority": None, "dead_letter": None}).json["config"], dict(DEFAULTS, ttl_ms=5, cap_records=9), "cleared")
    same(s.call("PUT", "/v0/topics/" + name, {"durable": True}).json["config"], dict(DEFAULTS, durability="fsync", durable=True), "replaced")
    refused(s.call("PATCH", "/v0/topics/" + fresh(), {}), 404, "topic_not_found")


@case
def type_of_a_topic_cannot_be_changed(s):
    name = fresh()
    s.call("PUT", "/v0/topics/" + name, {"type": "queue"})
    refused(s.call("PUT", "/v0/topics/" + name, {"type": "log"}), 409, "topic_exists_incompatible")
    refused(s.call("PATCH", "/v0/topics/" + name, {"type": "log"}), 409, "topic_exists_incompatible")
    same(s.call("PUT", "/v0/topics/" + name, {}).json["config"]["type"], "queue", "type after a PUT without one")


@case
def clamped_fields_are_stored_clamped_and_bad_ones_refused(s):
    name = fresh()
    config = s.call("PUT", "/v0/topics/" + name, {"lease_ms": 1, "claim_jitter_ms": 999999}).json["config"]
    same((config["lease_ms"], config["claim_jitter_ms"]), (100, 5000), "clamped")
    for bad in ({"type": "x"}, {"type": 1}, {"durability": "DISK"}, {"ttl_ms": -1}, {"ttl_ms": 1.0}, {"ttl_ms": None}, {"ttl_ms": "1"}, {"auto_create": 1},
                {"priority": 2 ** 31}, {"priority": 1.5}, {"dead_letter": name}, {"dead_letter": "-"}, {"discard": "new"}, {"ttl_ms": True}):
        refused(s.call("PUT", "/v0/topics/" + name, bad), 400, "invalid_request")
    refused(text(s, name, '{"records":[{"data":1}],"config":{"ttl_ms":1e3}}'), 400, "invalid_request")
    same(s.call("PUT", "/v0/topics/" + fresh(), {"priority": -2 ** 31, "ttl_ms": 2 ** 64 - 1}).status, 201, "extremes")


@case
def names_are_checked_and_compared_byte_for_byte(s):
    for good in ("a", "A1._:-z", "x" * 255):
        same(s.call("PUT", "/v0/topics/" + good, {}).status in (200, 201), True, good)
    for bad in ("_a", "-", ".", "..", "a%2Fb", "a%00", "x" * 256, "%C3%A9", "a%20b", "a>b"):
        refused(s.call("PUT", "/v0/topics/" + bad, {}), 400, "invalid_request")
    same(s.call("GET", "/v0/topics/%61").json["topic"], "a", "percent-decoded once")
    refused(s.call("GET", "/v0/topics/%2561"), 400, "invalid_request")


@case
def state_shows_every_field_and_the_etag_follows_the_head(s):
    name = fresh()
    epoch = append(s, name, 1, [2]).json["epoch"]
    answer = s.call("GET", "/v0/topics/" + name)
    state = answer.json
    same((state["head_seq"], state["earliest_seq"], state["next_seq"], state["count"], state["bytes"], state["type"], state["epoch"]),
         (2, 1, 3, 2, 4, "log", epoch), "state")
    truth(state["last_write_ts"] and state["last_read_ts"] and state["performance"]["server_total_ms"] >= 0, "clocks")
    same(answer.headers["etag"], '"%s-2"' % epoch, "etag")
    same(s.call("GET", "/v0/topics/" + name, headers={"If-None-Match": answer.headers["etag"]}).status, 304, "not modified")
    append(s, name, 3)
    same(s.call("GET", "/v0/topics/" + name, headers={"If-None-Match": answer.headers["etag"]}).status, 200, "modified")
    refused(s.call("GET", "/v0/topics/" + name + "?touch=maybe"), 400, "invalid_request")
    never = fresh()
    s.call("PUT", "/v0/topics/" + never, {"type": "queue"})
    state = s.call("GET", "/v0/topics/%s?touch=false" % never).json
    same((state["head_seq"], state["earliest_seq"], state["last_write_ts"], state["last_read_ts"], state["queue"]),
         (0, 1, None, None, {"ready": 0, "in_flight": 0, "dead_lettered": 0}), "fresh queue")


def listed(s, query, cursor=""):
    """The names on all pages of a list."""
    names = []
    while cursor is not None:
        page = s.call("GET", "/v0/topics?%s&cursor=%s" % (query, cursor)).json
        names += [t["topic"] for t in page["topics"]]
        cursor = page.get("next_cursor")
    return names


@case
def listing_pages_in_byte_order_and_knows_its_own_cursors(s):
    prefix = fresh()
    for i in range(7):
        s.call("PUT", "/v0/topics/%s%d" % (prefix, i), {})
    same(listed(s, "prefix=%s&page_size=3" % prefix), ["%s%d" % (prefix, i) for i in range(7)], "names")
    refused(s.call("GET", "/v0/topics?cursor=abcd"), 400, "invalid_request")
    refused(s.call("GET", "/v0/topics?page_size=x"), 400, "invalid_request")
    same(len(s.call("GET", "/v0/topics?prefix=%s&page_size=0" % prefix).json["topics"]), 1, "page_size 0 is 1")


@case
def a_list_begins_at_the_later_of_cursor_and_prefix(s):
    stem = fresh()
    names = ["%s-%s" % (stem, end) for end in ("a", "b", "m", "m0", "m1", "m2", "z")]
    for name in names:
        s.call("PUT", "/v0/topics/" + name, {})
    after = {name: s.call("GET", "/v0/topics?prefix=%s&page_size=%d" % (stem, n + 1)).json.get("next_cursor") for n, name in enumerate(names)}
    under = lambda prefix, cursor, size: listed(s, "prefix=%s-%s&page_size=%d" % (stem, prefix, size), after["%s-%s" % (stem, cursor)])  # noqa: E731
    for size in (1, 2, 100):
        for prefix, cursor, wanted in (("m", "a", names[2:6]), ("m", "b", names[2:6]), ("m", "m", names[3:6]), ("m", "m1", names[5:6]), ("m", "m2", []),
                                       ("m0", "m", names[3:4]), ("m0", "m0", []), ("a", "b", []), ("", "b", names[2:]), ("zz", "a", []), ("z", "a", names[6:])):
            same(under(prefix, cursor, size), wanted, "prefix %r behind the cursor after %r, %d a page" % (prefix, cursor, size))


@case
def delete_is_idempotent_and_a_new_topic_is_another_epoch(s):
    name = fresh()
    old = append(s, name, 1, 2, 3).json["epoch"]
    refused(s.call("DELETE", "/v0/topics/%s?if_empty=true" % name), 409, "topic_not_empty")
    same(s.call("DELETE", "/v0/topics/" + name).json["deleted"], True, "deleted")
    same({k: v for k, v in s.call("DELETE", "/v0/topics/" + name).json.items() if k != "performance"},
         {"topic": name, "deleted": False, "routers_removed": []}, "again")
    answer = append(s, name, 4).json
    truth(answer["created"] and answer["first_seq"] == 1 and answer["epoch"] != old, "recreated %r" % answer)
    page = diff(s, name, from_seq=1, epoch=old)
    same((page["tombstone"]["reason"], page["tombstone"]["gap_from"], page["tombstone"]["gap_to"], [r["data"] for r in page["records"]]),
         ("recreated", 1, 1, [4]), "cursor of another epoch")
    same(diff(s, name, from_seq=99)["tombstone"]["reason"], "recreated", "cursor beyond the head")


if __name__ == "__main__":
    sys.exit(cases.main(lambda: Server().start(), lambda server: server.close()))
