#!/usr/bin/env python3
"""gzip both ways: bodies in (with the limit on what they inflate to, FAULTS G13) and answers out."""

import gzip
import json
import os
import struct
import sys
import threading
import time
import uuid
import zlib

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness import cases  # noqa: E402
from harness.cases import case, same, truth  # noqa: E402
from harness.raw import Raw, post, request  # noqa: E402
from harness.server import Server, until  # noqa: E402

GOOD = b'{"records":[{"data":1}]}'
MIB = 1 << 20
LIMIT = 4 * MIB


def fresh():
    return "/v0/topics/z-" + uuid.uuid4().hex[:12]


def zipped(topic, body, coding="gzip", more=()):
    return post(topic, body, [("Content-Encoding", coding)] + list(more))


def chunked(topic, body, size, more=()):
    pieces = b"".join(b"%x\r\n%s\r\n" % (len(body[i:i + size]), body[i:i + size]) for i in range(0, len(body), size))
    return post(topic, pieces + b"0\r\n\r\n", [("Content-Encoding", "gzip"), ("Transfer-Encoding", "chunked")] + list(more))


def batch(count, size=100):
    return json.dumps({"records": [{"data": {"i": i, "text": uuid.UUID(int=i * 7919 << 64).hex * (size // 32 + 1)}} for i in range(count)]}).encode()


def head_of(s, topic):
    return s.call("GET", topic).json["head_seq"]


def resident(pid):
    with open("/proc/%d/statm" % pid) as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@case
def gzip_bodies_are_taken_in_every_spelling(s):
    name = fresh()
    for i, coding in enumerate(("gzip", "GZIP", "x-gzip", "X-GZip", " gzip ")):
        status, _, body = Raw(s.port).send(zipped(name, gzip.compress(GOOD), coding)).answer()
        same((status, json.loads(body)["last_seq"]), (201 if i == 0 else 200, i + 1), "answer with " + coding)
    for level in (0, 1, 9):
        same(Raw(s.port).send(zipped(name, gzip.compress(GOOD, level))).answer()[0], 200, "level %d" % level)
    same(s.call("POST", name + "/diff", body=gzip.compress(b'{"limit":1}'), headers={"Content-Encoding": "gzip", "Content-Type": "application/x-www-form-urlencoded"}).status, 200,
         "diff with curl's type")
    same(s.call("PUT", fresh(), body=gzip.compress(b""), headers={"Content-Encoding": "gzip", "Content-Type": "application/json"}).status, 201,
         "an empty body in a gzip")
    same(s.call("GET", name, body=b"not gzip", headers={"Content-Encoding": "gzip"}).status, 200, "the body of a GET is dropped")


@case
def other_codings_are_415_and_say_what_is_taken(s):
    for coding in ("deflate", "br", "gzip, gzip", "identity, gzip", "gzip, identity", "zstd", "gzipp", "*"):
        status, headers, body = Raw(s.port).send(zipped(fresh(), gzip.compress(GOOD), coding)).answer()
        same((status, headers["accept-encoding"], json.loads(body)["error"]["code"]), (415, "gzip, identity", "unsupported_media_type"), "answer with " + coding)
    for lines in ((("Content-Encoding", "gzip"), ("Content-Encoding", "gzip")), (("Content-Encoding", "identity"), ("Content-Encoding", "br"))):
        same(Raw(s.port).send(post(fresh(), GOOD, lines)).answer()[0], 415, "two lines")
    for coding in ("identity", "Identity", ""):
        same(Raw(s.port).send(zipped(fresh(), GOOD, coding)).answer()[0], 201, "as it is with %r" % coding)


@case
def damaged_gzip_is_400_and_stores_nothing(s):
    good, name = gzip.compress(GOOD), fresh()
    s.call("PUT", name, {})
    crc = bytearray(good)
    crc[-8] ^= 1
    size = bytearray(good)
    size[-1] ^= 1
    raw_deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    raw_deflate = raw_deflate.compress(GOOD) + raw_deflate.flush()
    damaged = [good[:n] for n in range(1, len(good))] + [bytes(crc), bytes(size), good + b"x", good + b"\0", good + b"\0" * 512, good + good[:5], GOOD, zlib.compress(GOOD), raw_deflate,
                                                         good[:2] + b"\x09" + good[3:], good[:3] + b"\xe0" + good[4:], b"\x1f\x8b\x08" + b"x" * 40, good + GOOD]
    for bytes_ in damaged:
        for message in (zipped(name, bytes_), chunked(name, bytes_, 3)):
            raw = Raw(s.port).send(request("GET", "/v0/health"), message)
            same(raw.answer()[0], 200, "the request before")
            answer = raw.answer()
            same((answer[0], json.loads(answer[2])["error"]["code"]), (400, "invalid_request"), "answer to %r" % bytes_[:60])
            raw.close()
    same(head_of(s, name), 0, "head")


@case
def members_one_after_the_other_are_one_body(s):
    name = fresh()
    body = gzip.compress(GOOD[:9]) + gzip.compress(b"") + gzip.compress(GOOD[9:])
    same(Raw(s.port).send(zipped(name, body)).answer()[0], 201, "three members")
    raw = Raw(s.port)
    for split in range(1, len(body)):
        message = chunked(name, body, split)
        raw.send(message, request("GET", "/v0/health"))
        same((raw.answer()[0], raw.answer()[0]), (200, 200), "chunks of %d, and in step behind it" % split)
    same(head_of(s, name), len(body), "head")


@case
def gzip_bodies_split_at_every_byte_are_the_same(s):
    name, message = fresh(), zipped(fresh(), gzip.compress(GOOD))
    raw, start = Raw(s.port), message.index(b"\r\n\r\n")
    for count, split in enumerate(range(start, len(message)), 1):
        one = message.replace(message.split(b" ")[1], name.encode())
        raw.send(one[:split])
        raw.send(one[split:])
        same(json.loads(raw.answer()[2])["last_seq"], count, "seq after a split at %d" % split)


@case
def payload_bytes_survive_both_ways(s):
    name, odd = fresh(), b'{ "z" : 1.0 , "a":[ 1e5 ,-0 ], "z":"\\u0041\\/" , "long":"' + b"ab\\u00e9" * 3000 + b'"}'
    s.call("PUT", name, {})
    same(Raw(s.port).send(zipped(name, gzip.compress(b'{"records":[{"data":' + odd + b"}]}"))).answer()[0], 200, "append")
    status, headers, body = Raw(s.port).send(request("GET", name + "/records", [("Accept-Encoding", "gzip")])).answer()
    same((status, headers["content-encoding"], headers["vary"]), (200, "gzip", "Accept-Encoding"), "head of the answer")
    truth(odd in gzip.decompress(body), "bytes of the record")


@case
def the_limit_holds_for_what_a_body_inflates_to(s):
    small = Server(settings={"TOPICS_MAX_BODY_BYTES": 100000}).start()
    try:
        for size, status in ((99999, 201), (100000, 200), (100001, 413), (5000000, 413)):
            body = gzip.compress(GOOD + b" " * (size - len(GOOD)))
            for message in (zipped("/v0/topics/a", body), chunked("/v0/topics/a", body, 50)):
                answer = Raw(small.port).send(message).answer()
                same(answer[0], 413 if status == 413 else answer[0] if answer[0] == 201 else 200, "%d bytes" % size)
                truth(status != 413 or json.loads(answer[2])["error"]["detail"]["max"] == 100000, "detail")
        stored = gzip.compress(b'{"records":[{"data":"' + os.urandom(49900).hex().encode() + b'"}]}', 0)
        same(Raw(small.port).send(zipped("/v0/topics/a", stored)).answer()[0], 200, "a gzip larger than its content")
        raw = Raw(small.port)
        raw.send(request("POST", "/v0/topics/a", [("Content-Type", "application/json"), ("Content-Encoding", "gzip"), ("Content-Length", "200000")]))
        same(raw.answer()[0], 413, "declared longer than any gzip of it")
        raw = Raw(small.port)
        raw.send(request("POST", "/v0/topics/a", [("Content-Type", "application/json"), ("Content-Encoding", "gzip"), ("Transfer-Encoding", "chunked")]))
        try:
            for _ in range(100):
                raw.send(b"10000\r\n" + os.urandom(65536) + b"\r\n")
        except OSError:
            pass
        truth(raw.answer()[0] in (400, 413), "endless noise")
        raw = Raw(small.port)
        bomb = gzip.compress(b" " * 10000000)
        raw.send(request("POST", "/v0/topics/a", [("Content-Type", "application/json"), ("Content-Encoding", "gzip"), ("Content-Length", "100000")]), bomb)
        same(raw.answer()[0], 413, "before the rest of the body has come")
    finally:
        small.close()


@case
def bombs_take_bounded_memory_and_hold_nobody_up(s):
    one = Server(settings={"TOPICS_WORKERS": 1, "TOPICS_MAX_BODY_BYTES": 16 * MIB}).start()
    try:
        inner = zlib.compressobj(9, zlib.DEFLATED, 31)
        bomb = b"".join([inner.compress(b"\0" * MIB) for _ in range(256)]) + inner.flush()
        members = gzip.compress(b"") * 50000
        link = Raw(one.port)
        before = resident(one.workers()[0])
        attackers = [Raw(one.port) for _ in range(8)]
        worst, peak = 0.0, 0
        for i, attacker in enumerate(attackers):
            threading.Thread(target=lambda a=attacker, m=zipped("/v0/topics/b", bomb if i % 2 else members): a.send(m), daemon=True).start()
        for _ in range(200):
            began = time.monotonic()
            same(link.send(request("GET", "/v0/health")).answer()[0], 200, "health meanwhile")
            worst = max(worst, time.monotonic() - began)
            peak = max(peak, resident(one.workers()[0]))
        statuses = [a.answer()[0] for a in attackers]
        same(statuses, [400, 413] * 4, "answers")
        truth(peak - before < 512 * MIB, "%d MiB more" % ((peak - before) // MIB))
        print("figures: gzip bombs: slowest of 200 other requests %.1f ms, memory +%.0f MiB" % (worst * 1e3, (peak - before) / MIB))
    finally:
        one.close()


# ---- answers ----

def accepts(s, value, target):
    headers = [("Accept-Encoding", value)] if value is not None else []
    status, got, body = Raw(s.port).send(request("GET", target, headers)).answer()
    same(status, 200, "status with %r" % value)
    same(int(got["content-length"]), len(body), "length with %r" % value)
    coded = got.get("content-encoding")
    truth(coded in (None, "gzip"), "coding %r" % coded)
    document = json.loads(gzip.decompress(body) if coded else body)
    document.pop("performance")
    return coded == "gzip", document, got


@case
def answers_are_gzip_only_for_who_asks(s):
    name = fresh()
    s.call("POST", name, body=batch(50), headers={"Content-Type": "application/json"})
    plain = accepts(s, None, name + "/records")[1]
    for value, wanted in (("gzip", True), ("GZIP", True), ("x-gzip", True), ("br, gzip", True), ("gzip;q=0.001", True), ("gzip; q=0.5", True), ("*", True), ("*;q=0.1", True),
                          ("deflate, gzip;q=1.0, *;q=0.5", True), ("identity, gzip", True), ("identity;q=0", False), ("identity;q=0, *", True), ("gzip;q=0", False), ("gzip;q=0.000", False),
                          ("gzip;q=0, *", False), ("*;q=0", False), ("", False), ("br", False), ("identity", False), ("gzip;q=0.5, identity", False), ("gzipp", False), ("gzip;q=2", False),
                          ("gzip;q=x", False), ("gzip;q=1.0001", False), (",, gzip ,", True)):
        coded, document, headers = accepts(s, value, name + "/records")
        same(coded, wanted, "gzip with %r" % value)
        same(document, plain, "document with %r" % value)
        truth("accept-encoding" in headers["vary"].lower(), "Vary %r" % headers.get("vary"))
    raw = Raw(s.port).send(request("GET", name + "/records", [("Accept-Encoding", "br"), ("Accept-Encoding", "gzip")]))
    same(raw.answer()[1].get("content-encoding"), "gzip", "asked for in a second line")


@case
def answers_of_a_kibibyte_or_less_stay_as_they_are(s):
    for size, wanted in ((1000, False), (2000, True)):
        name = fresh()
        s.call("POST", name, {"records": [{"data": "x" * (size - 400)}]})
        got = accepts(s, "gzip", name + "/records")
        same(got[0], wanted, "gzip at about %d" % size)
    same(Raw(s.port).send(request("GET", "/v0/health", [("Accept-Encoding", "gzip")])).answer()[1].get("content-encoding"), None, "health")
    same(Raw(s.port).send(request("GET", "/v0/health", [("Accept-Encoding", "identity;q=0, gzip")])).answer()[1].get("content-encoding"), "gzip", "identity forbidden")


@case
def posts_errors_and_large_answers_are_gzip_too(s):
    name = fresh()
    body = batch(2000, 400)
    same(Raw(s.port).send(zipped(name, gzip.compress(body))).answer()[0], 201, "append")
    ask = post(name + "/diff", '{"limit":1000,"max_batch_bytes":8388608}', [("Accept-Encoding", "gzip")])
    raw = Raw(s.port)
    raw.send(ask, request("GET", "/v0/health"), ask, request("GET", "/v0/nowhere", [("Accept-Encoding", "gzip")]))
    for _ in range(2):
        status, headers, got = raw.answer()
        same((status, headers["content-encoding"]), (200, "gzip"), "large answer")
        document = json.loads(gzip.decompress(got))
        same([r["data"]["i"] for r in document["records"]], list(range(1000)), "records")
        same(raw.answer()[0] in (200, 404), True, "the answer behind it, in order")


@case
def head_says_what_get_would(s):
    name = fresh()
    s.call("POST", name, body=batch(300), headers={"Content-Type": "application/json"})
    for headers in ([("Accept-Encoding", "gzip")], []):
        get = Raw(s.port).send(request("GET", name + "/records", headers)).answer()
        raw = Raw(s.port).send(request("HEAD", name + "/records", headers), request("GET", "/v0/health"))
        head = raw.answer(head_only=True)
        same(set(head[1]), set(get[1]), "header fields")
        same(head[1].get("content-encoding"), get[1].get("content-encoding"), "coding")
        truth(abs(int(head[1]["content-length"]) - int(get[1]["content-length"])) < 16, "length %r, %r" % (head[1], get[1]))
        same(raw.answer()[0], 200, "in step")


@case
def entity_tags_hold_for_both_forms(s):
    name = fresh()
    s.call("POST", name, {"records": [{"data": 1}]})
    for coding in ("gzip", "identity;q=0, gzip", "identity"):
        tag = Raw(s.port).send(request("GET", name, [("Accept-Encoding", coding)])).answer()[1]["etag"]
        for asked in ("gzip", "identity"):
            raw = Raw(s.port).send(request("GET", name, [("Accept-Encoding", asked), ("If-None-Match", tag)]), request("GET", "/v0/health"))
            status, headers, _ = raw.answer()
            same((status, headers["etag"], headers.get("content-encoding"), headers["vary"]), (304, tag, None, "Accept-Encoding"), "304")
            same(raw.answer()[0], 200, "in step")


@case
def a_client_that_leaves_while_its_answer_is_compressed_harms_nobody(s):
    name = fresh()
    s.call("POST", name, body=batch(2000, 2000), headers={"Content-Type": "application/json"})
    ask = post(name + "/diff", '{"limit":1000,"max_batch_bytes":8388608}', [("Accept-Encoding", "gzip")])
    for i in range(60):
        raw = Raw(s.port).send(ask, ask)
        if i % 3 == 0:
            raw.socket.setsockopt(1, 13, struct.pack("ii", 1, 0))  # SO_LINGER: reset
        raw.close()
    started = [Raw(s.port).send(ask) for _ in range(6)]
    for raw in started:
        status, headers, got = raw.answer()
        same((status, len(json.loads(gzip.decompress(got))["records"])), (200, 1000), "answer")
    until(lambda: all(w for w in s.workers()), what="workers")


@case
def compressing_large_answers_holds_up_no_other_client(s):
    one = Server(settings={"TOPICS_WORKERS": 1}).start()
    try:
        one.call("POST", "/v0/topics/a", body=batch(3000, 2500), headers={"Content-Type": "application/json"})
        ask = post("/v0/topics/a/diff", '{"limit":1000,"max_batch_bytes":8388608}', [("Accept-Encoding", "gzip")])
        link, times = Raw(one.port), []
        readers = [Raw(one.port, 60).send(ask) for _ in range(10)]
        done = [0]

        def drain():
            for reader in readers:
                same(reader.answer()[0], 200, "large answer")
                done[0] += 1
        thread = threading.Thread(target=drain)
        thread.start()
        while thread.is_alive():
            began = time.monotonic()
            same(link.send(request("GET", "/v0/health")).answer()[0], 200, "health meanwhile")
            times.append(time.monotonic() - began)
        same(done[0], len(readers), "large answers")
        times.sort()
        truth(len(times) > 30, "only %d other requests were served meanwhile" % len(times))
        print("figures: while 10 answers of 2.5 MB are compressed: %d other requests, p50 %.2f ms, p99 %.2f ms" % (len(times), times[len(times) // 2] * 1e3, times[len(times) * 99 // 100] * 1e3))
    finally:
        one.close()


if __name__ == "__main__":
    sys.exit(cases.main(lambda: Server(settings={"TOPICS_MAX_BODY_BYTES": 64 * MIB}).start(), lambda server: server.close()))
