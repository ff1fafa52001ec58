#!/usr/bin/env python3
"""Topics, appends, reads, JSON: the contract's fields, limits and errors against a real server."""

import json
import os
import sys
import threading
import uuid

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness import cases  # noqa: E402
from harness.cases import case, same, truth  # noqa: E402
from harness.raw import Raw, post  # noqa: E402
from harness.server import Server  # noqa: E402

JSON = {"Content-Type": "application/json"}


def fresh():
    return "t-" + uuid.uuid4().hex[:12]


def refused(answer, status, code):
    same((answer.status, answer.code), (status, code), "answer %r" % answer)
    error = answer.json["error"]
    truth(set(error) <= {"code", "message", "detail"} and error["message"], "envelope %r" % error)
    return error


def append(s, topic, *datas, **more):
    return s.call("POST", "/v0/topics/" + topic, dict({"records": [{"data": d} for d in datas]}, **more))


def text(s, topic, body, tail=""):
    return s.call("POST", "/v0/topics/" + topic + tail, body=body if isinstance(body, bytes) else body.encode(), headers=JSON)


def diff(s, topic, **question):
    answer = s.call("POST", "/v0/topics/%s/diff" % topic, question)
    same(answer.status, 200, "status of diff %r" % answer)
    return answer.json


# ---- topics ----

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


@case
def listing_pages_in_byte_order_and_knows_its_own_cursors(s):
    prefix = fresh()
    for i in range(7):
        s.call("PUT", "/v0/topics/%s%d" % (prefix, i), {})
    names, cursor = [], ""
    while True:
        page = s.call("GET", "/v0/topics?prefix=%s&page_size=3&cursor=%s" % (prefix, cursor)).json
        names += [t["topic"] for t in page["topics"]]
        if "next_cursor" not in page:
            break
        cursor = page["next_cursor"]
    same(names, ["%s%d" % (prefix, i) for i in range(7)], "names")
    refused(s.call("GET", "/v0/topics?cursor=abcd"), 400, "invalid_request")
    refused(s.call("GET", "/v0/topics?page_size=x"), 400, "invalid_request")
    same(len(s.call("GET", "/v0/topics?prefix=%s&page_size=0" % prefix).json["topics"]), 1, "page_size 0 is 1")


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


# ---- appends ----

@case
def append_numbers_densely_and_echoes_every_field(s):
    name = fresh()
    first = append(s, name, "a", "b")
    same(first.status, 201, "status")
    same({k: first.json[k] for k in ("topic", "first_seq", "last_seq", "seqs", "head_seq", "count", "created", "deduped")},
         {"topic": name, "first_seq": 1, "last_seq": 2, "seqs": [1, 2], "head_seq": 2, "count": 2, "created": True, "deduped": False}, "answer")
    second = s.call("POST", "/v0/topics/%s?return_seqs=false" % name, {"records": [{"data": None}]})
    truth(second.status == 200 and "seqs" not in second.json and second.json["first_seq"] == 3, "second %r" % second)
    refused(append(s, fresh(), 1, create=False), 404, "topic_not_found")
    refused(append(s, fresh(), 1, config={"auto_create": False}), 404, "topic_not_found")
    same(append(s, fresh(), 1, create=True, config={"auto_create": False}).status, 201, "create wins")


@case
def bad_records_are_refused_and_create_no_topic(s):
    name = fresh()
    for bad in ('{}', '{"records":[]}', '{"records":null}', '{"records":{}}', '{"records":[1]}', '{"records":[{}]}', '{"records":[{"data":1,"data":2}]}',
                '{"records":[{"data":1}],"records":[]}', '{"records":[{"data":1,"tag":5}]}', '{"records":[{"data":1,"meta":[]}]}',
                '{"records":[{"data":1,"tag":"\\ud800"}]}', '{"records":[{"data":1,"node":"\\u0000"}]}', '{"records":[{"data":1}],"node":7}',
                '{"records":[{"data":1}],"expect_head_seq":null}', '{"records":[{"data":1}],"expect_head_seq":-1}', '{"records":[{"data":1}],"create":1}',
                '{"records":[{"data":1}],"create":null}', '{"records":[{"data":1}],"config":[]}', '{"records":[{"data":1}]} x', '[]', '"x"', '7'):
        refused(text(s, name, bad), 400, "invalid_request")
    refused(s.call("GET", "/v0/topics/" + name), 404, "topic_not_found")
    same(text(s, name, '{"records":[{"data":1,"tag":null,"node":null,"meta":null,"x":{"y":[]}}],"z":1,"node":null,"config":null}').status, 201, "nulls are absent")


@case
def limits_hold_at_limit_and_one_more(s):
    name = fresh()
    record = lambda **r: s.call("POST", "/v0/topics/" + name, {"records": [dict({"data": 1}, **r)]})  # noqa: E731
    for size, status in ((255, 201), (256, 200), (257, 400)):
        same(record(tag="t" * size).status, status, "tag of %d" % size)
    same(record(tag="é" * 128).status, 200, "256 bytes of tag")
    same(record(tag="é" * 128 + "x").status, 400, "257 bytes of tag")
    for size, status in ((127, 200), (128, 200), (129, 400)):
        same(record(node="n" * size).status, status, "node of %d" % size)
        same(append(s, name, 1, node="n" * size).status, status, "batch node of %d" % size)
    for keys, status in ((63, 200), (64, 200), (65, 400)):
        same(record(meta={"k%d" % i: i for i in range(keys)}).status, status, "%d keys of meta" % keys)
    for size, status in ((16383, 200), (16384, 200), (16385, 400)):
        body = '{"records":[{"data":1,"meta":{"k":"%s"}}]}' % ("x" * (size - 8))
        same(text(s, name, body).status, status, "meta of %d bytes" % size)
    for size, code in (((1 << 20) - 1, None), (1 << 20, None), ((1 << 20) + 1, "record_too_large")):
        answer = text(s, name, '{"records":[{"data":"%s"}]}' % ("x" * (size - 2)))
        same(answer.code if answer.status != 200 else None, code, "record of %d bytes" % size)
    for count, code in ((9999, None), (10000, None), (10001, "batch_too_large")):
        answer = text(s, name, '{"records":[%s]}' % ",".join(['{"data":1}'] * count))
        same(answer.code if answer.status != 200 else None, code, "%d records" % count)
    for size, status in ((255, 200), (256, 200), (257, 400)):
        same(append(s, name, 1, idempotency_key="k" * size).status, status, "key of %d" % size)
        same(s.call("POST", "/v0/topics/" + name, {"records": [{"data": 1}]}, headers={"Idempotency-Key": "h" * size}).status, status, "header of %d" % size)


@case
def data_and_meta_come_back_byte_for_byte(s):
    odd = [b'{ "z" : 1.0 , "a":[ 1e5 ,-0 ,1E+2 ], "z":"\\u0041\\/" }', b'["\\ud800","\\uDFFF\\uD800 x","\\u0000"]', b"123456789012345678901234567890.10",
           '{"é":"\u2028🚀","\\u00e9":null}'.encode(), b"[\t[ ] , { } ,null ]", b"1E400", b'"' + b"a\\n" * 5000 + b'"', b"-0.0e-0", b"[1,\n 2]", b"null", b'""']
    name = fresh()
    metas = [b'{ "m" : %s , "m":1 }' % o for o in odd]
    text(s, name, b'{"records":[' + b" , ".join(b'{ "meta":%s, "data" : %s }' % (m, o) for o, m in zip(odd, metas)) + b"]}")
    body = s.call("POST", "/v0/topics/%s/diff" % name, {}).body
    for o, m in zip(odd, metas):
        truth(b'"data":' + o + b"," in body and b'"meta":' + m + b"}" in body, "%r is not there as it came" % o[:60])


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
def a_repeat_gets_the_first_answer_also_from_the_header_and_after_other_writes(s):
    name = fresh()
    first = append(s, name, 1, 2, idempotency_key="k").json
    append(s, name, 3)
    again = append(s, name, 9, idempotency_key="k")
    same((again.status, again.json["seqs"], again.json["deduped"], again.json["created"], again.json["head_seq"]), (200, first["seqs"], True, False, 3), "repeat")
    head = s.call("POST", "/v0/topics/" + name, {"records": [{"data": 5}]}, headers={"Idempotency-Key": '"k"'})
    same((head.json["seqs"], head.json["deduped"]), (first["seqs"], True), "quoted header")
    same(append(s, name, 1, idempotency_key="other").json["deduped"], False, "another key")
    same(append(s, fresh(), 1, idempotency_key="k").json["deduped"], False, "another topic")


@case
def repeats_in_flight_append_once(s):
    for durability in ("ephemeral", "memory", "disk", "fsync"):
        name, answers = fresh(), []
        s.call("PUT", "/v0/topics/" + name, {"durability": durability})
        for n in range(10):
            crew = [threading.Thread(target=lambda: answers.append(append(s, name, n, n, idempotency_key="k%d" % n).json["seqs"])) for _ in range(6)]
            [t.start() for t in crew]
            [t.join() for t in crew]
        same(s.call("GET", "/v0/topics/" + name).json["head_seq"], 20, "head of " + durability)
        same(sorted(set(map(tuple, answers))), [(2 * n + 1, 2 * n + 2) for n in range(10)], "seqs of " + durability)


@case
def expected_heads_let_one_of_many_writers_through(s):
    name, won = fresh(), []
    refused(append(s, name, 1, expect_head_seq=3), 409, "head_mismatch")
    append(s, name, 0, expect_head_seq=0)
    for head in range(1, 20):
        crew = [threading.Thread(target=lambda: won.append(append(s, name, head, expect_head_seq=head).status)) for _ in range(5)]
        [t.start() for t in crew]
        [t.join() for t in crew]
    same((won.count(200), won.count(409)), (19, 76), "winners and losers")
    detail = refused(append(s, name, 1, expect_head_seq=1), 409, "head_mismatch")["detail"]
    same(detail["head_seq"], 20, "detail")
    refused(append(s, name, 1, expect_head_seq=20, expect_epoch="0" * 16), 409, "head_mismatch")
    same(append(s, name, 1, expect_head_seq=20, expect_epoch=detail["epoch"]).status, 200, "with the epoch")


@case
def reject_refuses_what_the_empty_topic_could_not_take(s):
    name = fresh()
    s.call("PUT", "/v0/topics/" + name, {"discard": "reject", "cap_records": 2, "cap_bytes": 10})
    refused(append(s, name, 1, 2, 3), 400, "record_too_large")
    refused(append(s, name, "x" * 9), 400, "record_too_large")
    same(append(s, name, 1, 2).status, 200, "what fits")


# ---- reads ----

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


# ---- JSON (FAULTS H) ----

@case
def nesting_counts_over_the_whole_document(s):
    name = fresh()
    for depth, status in ((64, 201), (125, 200), (126, 400), (100000, 400)):
        same(text(s, name, '{"records":[{"data":%s%s}]}' % ("[" * depth, "]" * depth)).status, status, "data of depth %d" % depth)
    same(text(s, name, "[" * 1000000).status, 400, "a million brackets")


@case
def malformed_json_says_at_which_byte(s):
    for body, offset in ((b'{"records":[{"data":01}]}', 21), (b'{"records":[{"data":1.}]}', 22), (b'{"records":[{"data":+1}]}', 20), (b'{"records":[{"data":NaN}]}', 20),
                         (b'{"records":[{"data":"\x01"}]}', 21), (b'{"records":[{"data":"\xff"}]}', 21), (b'{"records":[{"data":"\xc0\xaf"}]}', 21),
                         (b'{"records":[{"data":"\xed\xa0\x80"}]}', 21), (b'\xef\xbb\xbf{"records":[{"data":1}]}', 0), (b'{"records":[{"data":1}]}{}', 24),
                         (b'{"records":[{"data":1}/**/]}', 22), (b'{"records":[{"data":"\\x"}]}', 21), (b'{"records":[{"data":1,}]}', 22), (b'{"records":[{"data":1}', 22),
                         (b'{"records":[{"data":tru}]}', 20), (b'{"records":[{"data":"\xf4\x90\x80\x80"}]}', 21)):
        error = refused(text(s, fresh(), body), 400, "invalid_request")
        same(error["detail"]["offset"], offset, "offset in %r" % body)


@case
def grammatical_oddities_are_kept(s):
    for data in (b"1e999", b"-0", b"1E400", b"9007199254740993", b"18446744073709551616", b"1" * 100000, b'"\\uD800"', b'{"a":1,"a":2}', '"\U0001f680"'.encode()):
        name = fresh()
        same(text(s, name, b'{"records":[{"data":' + data + b"}]}").status, 201, "status of %r" % data[:30])
        truth(b'"data":' + data + b"}" in s.call("POST", "/v0/topics/%s/diff" % name, {}).body, "%r is kept" % data[:30])


@case
def a_million_keys_and_a_mebibyte_key_cost_linear_time(s):
    name = fresh()
    keys = ",".join('"k%d":1' % i for i in range(60000))
    same(text(s, name, '{"records":[{"data":{%s}}],%s}' % (keys, keys)).status, 201, "many keys")
    same(text(s, name, '{"records":[{"data":1}],"%s":1}' % ("k" * (1 << 20))).status, 200, "a long key")


# ---- endpoints of later versions ----

@case
def unbuilt_endpoints_answer_501_after_the_checks_before_them(s):
    for method, path, body in (("POST", "/v0/topics/a/delete", {"before_seq": 1}), ("POST", "/v0/topics/a/claim", {"node": "w"}), ("POST", "/v0/topics/a/ack", {}),
                               ("POST", "/v0/topics/a/nack", {}), ("POST", "/v0/topics/a/extend", {}), ("GET", "/v0/topics/a/work", None),
                               ("PUT", "/v0/routers/r", {}), ("GET", "/v0/routers/r>x", None), ("DELETE", "/v0/routers/r", None), ("GET", "/v0/routers", None),
                               ("POST", "/v0/watch", {}), ("GET", "/v0/watch/wid_x", None), ("GET", "/v0/ws", None), ("GET", "/v0/metrics", None)):
        refused(s.call(method, path, body), 501, "not_implemented")
        if body is not None:
            refused(s.call(method, path, body=b"{}", headers={"Content-Type": "text/plain"}), 415, "unsupported_media_type")
            refused(s.call(method, path, body=b"{", headers=JSON), 400, "invalid_request")
            same(s.call(method, path, headers=JSON).status, 400, "empty body with a type")
    refused(s.call("POST", "/v0/topics/_/delete", {}), 400, "invalid_request")
    refused(s.call("PUT", "/v0/routers/%3E", {}), 400, "invalid_request")
    refused(s.call("POST", "/v0/topics/a/claim"), 400, "invalid_request")


@case
def probes_answer_without_performance(s):
    health = s.call("GET", "/v0/health").json
    same((health["status"], set(health)), ("ok", {"status", "version", "uptime_ms"}), "health")
    ready = s.call("GET", "/readyz?write=1").json
    same((ready["status"], ready["wal_replay_complete"], set(ready)), ("ready", True, {"status", "wal_replay_complete", "topics"}), "ready")
    same(s.call("GET", "/healthz").status, 200, "healthz")


@case
def problem_json_is_given_where_it_is_asked_for(s):
    answer = s.call("GET", "/v0/topics/" + fresh(), headers={"Accept": "application/problem+json"})
    same((answer.headers["content-type"], answer.json["status"], answer.json["code"]), ("application/problem+json", 404, "topic_not_found"), "problem")


@case
def pipelined_appends_are_numbered_in_order(s):
    name, raw = fresh(), Raw(s.port)
    raw.send(b"".join(post("/v0/topics/" + name, '{"records":[{"data":%d}]}' % n) for n in range(100)))
    seqs = [json.loads(raw.answer()[2])["seqs"][0] for _ in range(100)]
    same(seqs, list(range(1, 101)), "seqs")
    raw.close()


if __name__ == "__main__":
    sys.exit(cases.main(lambda: Server().start(), lambda server: server.close()))
