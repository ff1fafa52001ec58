#!/usr/bin/env python3
"""Appends: fields, limits, idempotency, conditional writes."""

import json
import os
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness import cases  # noqa: E402
from harness.api import append, fresh, refused, text  # noqa: E402
from harness.cases import case, same, truth  # noqa: E402
from harness.raw import Raw, post  # noqa: E402
from harness.server import Server  # noqa: E402


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
def an_expected_epoch_never_matches_a_topic_that_is_absent(s):
    name = fresh()
    for epoch in ("0" * 16, "f" * 16, "", "x"):
        detail = refused(append(s, name, 1, expect_head_seq=0, expect_epoch=epoch), 409, "head_mismatch")["detail"]
        same(detail, {"head_seq": 0, "epoch": None}, "detail for the epoch %r" % epoch)
    refused(append(s, name, 1, expect_epoch="0" * 16), 409, "head_mismatch")
    refused(s.call("GET", "/v0/topics/" + name), 404, "topic_not_found")
    epoch = append(s, name, 1).json["epoch"]
    s.call("DELETE", "/v0/topics/" + name)
    for gone in (epoch, "0" * 16):
        refused(append(s, name, 1, expect_head_seq=0, expect_epoch=gone), 409, "head_mismatch")
    same(append(s, name, 1, expect_head_seq=0).status, 201, "without an epoch")


@case
def an_epoch_of_any_text_up_to_its_limit_matches_none(s):
    name = fresh()
    append(s, name, 1)
    for size in (0, 15, 17, 63, 64, 1023, 1024):
        refused(append(s, name, 1, expect_epoch="e" * size), 409, "head_mismatch")
        page = s.call("POST", "/v0/topics/%s/diff" % name, {"from_seq": 1, "epoch": "e" * size}).json
        same(page["tombstone"]["reason"], "recreated", "diff with an epoch of %d bytes" % size)
    refused(append(s, name, 1, expect_epoch="e" * 1025), 400, "invalid_request")
    refused(s.call("POST", "/v0/topics/%s/diff" % name, {"epoch": "e" * 1025}), 400, "invalid_request")
    records = "/v0/topics/%s/records?from_seq=1&epoch=" % name
    same(s.call("GET", records + "e" * 1023).json["tombstone"]["reason"], "recreated", "1023 bytes in the query")
    refused(s.call("GET", records + "e" * 1024), 400, "invalid_request")


@case
def reject_refuses_what_the_empty_topic_could_not_take(s):
    name = fresh()
    s.call("PUT", "/v0/topics/" + name, {"discard": "reject", "cap_records": 2, "cap_bytes": 10})
    refused(append(s, name, 1, 2, 3), 400, "record_too_large")
    refused(append(s, name, "x" * 9), 400, "record_too_large")
    same(append(s, name, 1, 2).status, 200, "what fits")


@case
def pipelined_appends_are_numbered_in_order(s):
    name, raw = fresh(), Raw(s.port)
    raw.send(b"".join(post("/v0/topics/" + name, '{"records":[{"data":%d}]}' % n) for n in range(100)))
    seqs = [json.loads(raw.answer()[2])["seqs"][0] for _ in range(100)]
    same(seqs, list(range(1, 101)), "seqs")
    raw.close()


if __name__ == "__main__":
    sys.exit(cases.main(lambda: Server().start(), lambda server: server.close()))
