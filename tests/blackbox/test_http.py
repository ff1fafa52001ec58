#!/usr/bin/env python3
"""HTTP on the wire: framing (FAULTS G1 to G7, G11), bodies, methods, limits. After every refusal the next clean connection works and nothing was stored."""

import gzip
import json
import os
import sys
import uuid

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness import cases  # noqa: E402
from harness.cases import case, same, truth  # noqa: E402
from harness.counters import counter  # noqa: E402
from harness.raw import Raw, post, request  # noqa: E402
from harness.server import Server, until  # noqa: E402

GOOD = '{"records":[{"data":1}]}'
SMUGGLED = request("PUT", "/v0/topics/smuggled", [("Content-Length", "0")])


def fresh():
    return "/v0/topics/h-" + uuid.uuid4().hex[:12]


def refused_and_closed(s, head, statuses=(400,)):
    """The bytes are refused after the answers to what came before them; what follows is never taken for a request; pieces or whole, the same."""
    if isinstance(head, str):
        head = head.encode("latin-1")
    for split in range(1, len(head) + 1, 1 + len(head) // 200):
        raw = Raw(s.port)
        raw.send(request("GET", "/v0/health") + head[:split])
        same(raw.answer()[0], 200, "the request before %r" % head[:60])  # so the first piece has been looked at by itself
        try:
            raw.send(head[split:] + b"\r\n\r\n" + SMUGGLED)
        except OSError:
            pass
        answer = raw.answer()
        truth(answer is not None and answer[0] in statuses, "answer to %r is %r" % (head[:80], answer and answer[0]))
        truth("error" in json.loads(answer[2]), "envelope of %r" % head[:60])
        truth(raw.closed(), "the connection stays open after %r" % head[:60])
        raw.close()
    same(s.call("GET", "/v0/topics/smuggled").status, 404, "smuggled request after %r" % head[:60])


def lines(*fields, body=b"{}", method="POST", target="/v0/topics/x/diff", version="HTTP/1.1"):
    return ("%s %s %s\r\nHost: h\r\nContent-Type: application/json\r\n%s\r\n" % (method, target, version, "".join(f + "\r\n" for f in fields))).encode("latin-1") + body


@case
def g1_two_framings_are_refused(s):
    for fields in (("Content-Length: 2", "Transfer-Encoding: chunked"), ("Content-Length: 2", "Content-Length: 3"), ("Content-Length: 2", "Content-Length: 2"),
                   ("Content-Length: 2, 2",), ("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"), ("Transfer-Encoding: gzip, chunked",),
                   ("Transfer-Encoding: identity",), ("Transfer-Encoding: chunked, identity",), ("Transfer-Encoding: xchunked",), ("Transfer-Encoding:",)):
        refused_and_closed(s, lines(*fields))


@case
def g2_lengths_that_are_no_plain_decimal_are_refused(s):
    for value in ("+5", "0x5", "5 5", "1_0", "", "-1", "9223372036854775808999", "18446744073709551621", "5;", "2.0", "\t2 2", "2 ", "2  ", "2\t"):
        refused_and_closed(s, lines("Content-Length: " + value))
    refused_and_closed(s, lines("Content-Length: 9223372036854775808"), (413, 400))
    raw = Raw(s.port)
    same(raw.send(lines("Content-Length: 0000000002")).answer()[0], 404, "leading zeros are decimal")


@case
def g3_broken_chunks_are_refused(s):
    for body in (b"0x2\r\n{}\r\n0\r\n\r\n", b"+2\r\n{}\r\n0\r\n\r\n", b"-2\r\n{}\r\n", b"2_\r\n{}\r\n0\r\n\r\n", b"\r\n{}\r\n0\r\n\r\n", b"fffffffffffffffff\r\n{}", b"2;a=\rb\r\n{}\r\n0\r\n\r\n",
                 b"2\r\n{}0\r\n\r\n", b"2\r\n{}xx0\r\n\r\n", b"2\n{}\r\n0\r\n\r\n", b"2\r\n{}\n0\r\n\r\n", b"2 \r\n{}\r\n0\r\n\r\n", b"0\r\n bad: x\r\n\r\n", b"0\r\nno colon\r\n\r\n",
                 b"0\r\nbad name: x\r\n\r\n", b"2;" + b"e" * 2000 + b"\r\n{}\r\n0\r\n\r\n"):
        refused_and_closed(s, lines("Transfer-Encoding: chunked", body=body))


@case
def g4_sloppy_heads_are_refused(s):
    for head in ("GET /v0/health HTTP/1.1\nHost: h\n\n", "GET /v0/health HTTP/1.1\r\nHost: h\nX: y\r\n\r\n", "GET /v0/health HTTP/1.1\r\nHost: h\r\nX: a\rb\r\n\r\n",
                 "GET /v0/health HTTP/1.1\r\nHost: h\r\nX: a\0b\r\n\r\n", "GET /v0/health HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n", "GET /v0/health HTTP/1.1\r\nHost: h\r\nX : a\r\n\r\n",
                 "GET /v0/health HTTP/1.1\r\nHost: h\r\n: a\r\n\r\n", "GET /v0/health HTTP/1.1\r\nHost: h\r\nX(: a\r\n\r\n", "GET /v0/health HTTP/1.1\r\nHost: h\r\nX\xe9: a\r\n\r\n",
                 "GET /v0/health HTTP/1.1\r\nHost: h\r\nno colon\r\n\r\n", "GET  /v0/health HTTP/1.1\r\nHost: h\r\n\r\n", "GET /v0/health  HTTP/1.1\r\nHost: h\r\n\r\n",
                 "GET /v0/\xe9 HTTP/1.1\r\nHost: h\r\n\r\n", "GET /v0/health HTTP/1.1 \r\nHost: h\r\n\r\n", "GET\t/v0/health HTTP/1.1\r\nHost: h\r\n\r\n", "GET /v0/health HTTP/1.1\r\n\r\n",
                 "GET /v0/health HTTP/1.1\r\nHost: a b\r\n\r\n", "GET /v0/health HTTP/1.1\r\nHost: a/b\r\n\r\n", "GET /v0/health HTTP/1.1\r\nHost: u@h\r\n\r\n",
                 "GET /v0/health HTTP/1.1\r\nHost: h\\\r\n\r\n", "GET /v0/health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", " GET /v0/health HTTP/1.1\r\nHost: h\r\n\r\n"):
        refused_and_closed(s, head)


@case
def g5_answers_come_in_order_up_to_the_first_broken_request(s):
    name, raw = fresh(), Raw(s.port)
    raw.send(post(name, GOOD), post(name + "/diff", "{}"), request("POST", name + "/diff", [("Content-Length", "0")]), request("GET", "/v0/nowhere"),
             b"GET / HTTP/1.1\r\nHost : h\r\n\r\n", post(name, GOOD))
    same([raw.answer()[0] for _ in range(5)], [201, 200, 200, 404, 400], "answers")
    truth(raw.closed(), "closed")
    same(s.call("GET", name).json["head_seq"], 1, "head")


@case
def g6_bodies_over_the_limit_are_413_before_they_are_read(s):
    small = Server(settings={"TOPICS_MAX_BODY_BYTES": 1000}).start()
    try:
        for size, status in ((999, 201), (1000, 200), (1001, 413)):
            body = GOOD + " " * (size - len(GOOD))
            same(small.call("POST", "/v0/topics/a", body=body.encode(), headers={"Content-Type": "application/json"}).status, status, "%d bytes" % size)
            raw = Raw(small.port)
            raw.send(post("/v0/topics/a", b"%x\r\n%s\r\n0\r\n\r\n" % (size, body.encode()), [("Transfer-Encoding", "chunked")]))
            same(raw.answer()[0], 413 if status == 413 else 200, "%d bytes chunked" % size)
        raw = Raw(small.port)
        raw.send(request("POST", "/v0/topics/a", [("Content-Type", "application/json"), ("Content-Length", "5000"), ("Expect", "100-continue")]))
        same(raw.answer()[0], 413, "instead of 100 Continue")
        raw = Raw(small.port)
        raw.send(request("POST", "/v0/topics/a", [("Content-Type", "application/json"), ("Content-Length", str(30 << 20))]))
        for _ in range(200):
            try:
                raw.send(b"x" * 65536)
            except OSError:
                break
        same(raw.answer()[0], 413, "a client that is still sending reads its answer")
    finally:
        small.close()


@case
def a_request_refused_before_its_body_came_is_answered_once(s):
    raw = Raw(s.port).send(request("POST", fresh(), [("Content-Type", "text/plain"), ("Content-Length", "10")]))
    same(raw.answer()[0], 415, "answer to the head alone")
    raw.send(b"01234", b"56789", request("GET", "/v0/health"))
    same(raw.answer()[0], 200, "the next answer")
    raw.send(request("GET", "/v0/nowhere"))
    same(raw.answer()[0], 404, "and the one after it")


@case
def an_answer_says_so_when_the_connection_closes_behind_it(s):
    chunked, whole, waits, large = ("Transfer-Encoding", "chunked"), b"2\r\n{}\r\n0\r\n\r\n", ("Expect", "100-continue"), ("Content-Length", "3000000")
    json_type, text_type, coding, name = ("Content-Type", "application/json"), ("Content-Type", "text/plain"), ("Content-Encoding", "br"), fresh()
    for method, target, fields, body, status in (
            ("POST", "/nope", [chunked], whole, 404), ("POST", "/v0/topics/a%2fb", [chunked, json_type], whole, 400), ("PATCH", name + "/diff", [chunked], whole, 405),
            ("POST", name, [chunked, text_type], whole, 415), ("POST", name, [chunked, json_type, coding], whole, 415), ("OPTIONS", name, [chunked], whole, 204),
            ("OPTIONS", "*", [chunked], whole, 204), ("POST", "/nope", [large], b"x", 404), ("POST", name, [large, text_type], b"x", 415),
            ("POST", "/nope", [waits, ("Content-Length", "2")], b"", 404), ("POST", "/v0/topics/a%2fb", [waits, ("Content-Length", "2")], b"", 400),
            ("POST", name, [waits, text_type, ("Content-Length", "2")], b"", 415)):
        raw = Raw(s.port).send(request(method, target, fields) + body, request("GET", "/v0/health"))
        got = raw.answer()
        same((got[0], got[1].get("connection")), (status, "close"), "%s %s with %r" % (method, target, fields))
        truth(raw.closed(), "closed after %s %s with %r" % (method, target, fields))
    raw = Raw(s.port).send(request("POST", "/nope", body=b"0123456789"), post(name + "/diff", whole, [chunked]), request("GET", "/v0/health"))
    got = [raw.answer() for _ in range(3)]
    same([(a[0], a[1].get("connection")) for a in got], [(404, None), (404, None), (200, None)], "a small body is dropped, one that is wanted is read")


@case
def expect_is_honoured_or_refused(s):
    name, raw = fresh(), Raw(s.port)
    raw.send(request("POST", name, [("Content-Type", "application/json"), ("Content-Length", str(len(GOOD))), ("Expect", "100-continue")]))
    same(raw.answer()[0], 100, "leave to go on")
    same(raw.send(GOOD).answer()[0], 201, "answer")
    raw = Raw(s.port)
    same(raw.send(request("POST", name, [("Content-Type", "application/json"), ("Content-Length", "24"), ("Expect", "the-moon")])).answer()[0], 417, "other expectation")
    raw = Raw(s.port)
    same(raw.send(request("POST", name, [("Content-Type", "text/plain"), ("Content-Length", "24"), ("Expect", "100-continue")])).answer()[0], 415, "refused before 100")


def waiting_poll(s):
    """A topic without records and a long poll for them, as bytes to send."""
    name = fresh()
    same(s.call("PUT", name, {}).status, 201, "topic")
    return name, post(name + "/diff", '{"wait_ms":20000}')


@case
def leave_to_send_a_body_comes_behind_the_earlier_answers(s):
    def head(name, *fields):
        return request("POST", name, [("Content-Length", str(len(GOOD))), ("Expect", "100-continue")] + list(fields))
    json_type = ("Content-Type", "application/json")
    name, raw = fresh(), Raw(s.port)
    for _ in range(2):  # the connection stays in step
        raw.send(request("GET", "/v0/health") + request("GET", "/v0/nowhere") + head(name, json_type))
        same([raw.answer()[0] for _ in range(3)], [200, 404, 100], "two answers, then leave to go on")
        truth(raw.send(GOOD).answer()[0] in (200, 201), "the answer")
    raw.send(request("GET", "/v0/health") + head(name, ("Content-Type", "text/plain")))
    same([raw.answer()[0] for _ in range(2)], [200, 415], "an answer, then the refusal")
    truth(raw.closed(), "closed")
    name, poll = waiting_poll(s)
    raw = Raw(s.port).send(poll + head(name, json_type))
    raw.socket.settimeout(0.3)
    try:
        truth(False, "said before the answer to the long poll: %r" % (raw.answer(),))
    except TimeoutError:
        raw.socket.settimeout(10)
    same(s.call("POST", name, json.loads(GOOD)).status, 200, "the record that ends the poll")
    same([raw.answer()[0] for _ in range(2)], [200, 100], "the poll, then leave to go on")
    same(json.loads(raw.send(GOOD).answer()[2])["last_seq"], 2, "the answer")
    raw = Raw(s.port).send(request("GET", "/v0/health") + head(name, json_type) + GOOD.encode())
    same([raw.answer()[0] for _ in range(2)], [200, 200], "no leave for what has come")


@case
def g7_long_targets_heads_and_methods_are_bounded(s):
    target = lambda n: "/v0/topics?prefix=" + "x" * (n - 18)  # noqa: E731
    for size, status in ((8191, 200), (8192, 200), (8193, 414), (60000, 414)):
        same(Raw(s.port).send(request("GET", target(size))).answer()[0], status, "target of %d" % size)
    for count, status in ((98, 200), (99, 200), (100, 431)):
        same(Raw(s.port).send(request("GET", "/v0/health", [("X%d" % i, "y") for i in range(count)])).answer()[0], status, "%d fields and Host" % count)
    base = len(request("GET", "/v0/health", [("X", "")]))
    for size, status in ((32767, 200), (32768, 200), (32769, 431)):
        same(Raw(s.port).send(request("GET", "/v0/health", [("X", "y" * (size - base))])).answer()[0], status, "head of %d" % size)
    raw = Raw(s.port)
    try:
        for _ in range(2000):
            raw.send(b"X: y\r\n" * 100 if _ else b"GET /v0/health HTTP/1.1\r\nHost: h\r\n")
    except OSError:
        pass
    same(raw.answer()[0], 431, "two hundred thousand fields")
    refused_and_closed(s, "M" * 40 + " /v0/health HTTP/1.1\r\nHost: h\r\n\r\n", (400, 405))


@case
def g9_odd_paths_name_no_file_and_no_other_topic(s):
    for path, statuses in (("/v0/topics/%2e%2e", (400,)), ("/v0/topics/a%2Fb", (400,)), ("/v0/topics/%00", (400,)), ("/v0//topics", (404,)), ("/v0/topics/", (404,)),
                           ("/v0/topics/%c0%ae", (400,)), ("/V0/topics", (404,)), ("/v0/health.", (404,)), ("/../etc/passwd", (404,)), ("/v0/topics/%zz", (400,)), ("/v0/topics/%4", (400,)),
                           ("/", (404,)), ("/v0/topics/a#b", (400,))):
        truth(Raw(s.port).send(request("GET", path)).answer()[0] in statuses, "status of " + path)
    same(Raw(s.port).send(request("GET", "http://any.host/v0/health")).answer()[0], 200, "absolute form")
    same(Raw(s.port).send(request("GET", "/v0/health?x=y")).answer()[0], 200, "query")


@case
def g11_other_versions_and_protocols_are_refused(s):
    for head, statuses in (("GET /v0/health HTTP/2.0\r\nHost: h\r\n\r\n", (505,)), ("GET /v0/health HTTP/0.9\r\n\r\n", (505, 400)), ("GET /v0/health\r\n\r\n", (400,)),
                           ("CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\n", (405,)),
                           ("GET /v0/health HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: \r\n\r\n", (505,)), ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (505, 400)), ("GET /v0/health HTTP/1.2\r\nHost: h\r\n\r\n", (505,)),
                           ("GET /v0/health ICY/1.1\r\nHost: h\r\n\r\n", (400,))):
        raw = Raw(s.port)
        raw.send(head)
        answer = raw.answer()
        truth(answer is not None and answer[0] in statuses, "%r: %r" % (head, answer))
        truth(raw.closed(), "closed after %r" % head)
    raw = Raw(s.port).send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 500)
    same(raw.answer()[0], 400, "TLS")
    truth(raw.closed(), "closed after TLS")
    same(Raw(s.port).send(request("GET", "/v0/health", [("Connection", "Upgrade"), ("Upgrade", "websocket")])).answer()[0], 200, "another upgrade is not taken up, and ignored")


@case
def g12_aborted_requests_store_nothing_and_half_closed_ones_are_answered(s):
    name = fresh()
    for cut in range(1, len(post(name, GOOD)), 7):
        raw = Raw(s.port)
        raw.send(post(name, GOOD)[:cut])
        raw.close()
    import socket
    raw = Raw(s.port)
    raw.send(post(name, GOOD))
    raw.socket.shutdown(socket.SHUT_WR)
    same(raw.answer()[0], 201, "answer after a half-close")
    truth(raw.closed(), "then closed")
    same(s.call("GET", name).json["head_seq"], 1, "head")


@case
def a_pipeline_split_at_every_byte_gets_the_same_answers(s):
    name = fresh()
    stream = (post(name, GOOD) + request("HEAD", name) + post(name + "/diff", "{}", [("Expect", "100-continue")]) + request("GET", "/v0/nowhere", [("Content-Length", "3")], b"abc")
              + request("POST", name + "/diff", [("Content-Length", "0")]) + request("POST", name, [("Content-Type", "text/plain")], b"0123456789") + request("OPTIONS", "*")
              + b"GET / HTTP/1.1\r\nHost : h\r\n\r\n" + SMUGGLED)
    same(s.call("PUT", name, {}).status, 201, "topic")
    for split in range(1, len(stream)):
        raw, got = Raw(s.port), []
        raw.send(stream[:split])
        raw.send(stream[split:])
        for head_only in (False, True, False, False, False, False, False, False):
            answer = raw.answer(head_only)
            while answer is not None and answer[0] == 100:
                answer = raw.answer(head_only)
            got.append(answer and answer[0])
        same(got, [200, 200, 200, 404, 200, 415, 204, 400], "answers after a split at %d" % split)
        truth(raw.closed(), "closed")
        raw.close()
    same(s.call("GET", name).json["head_seq"], len(stream) - 1, "head")


@case
def g12_half_a_request_is_given_up_when_its_sender_ends(s):
    import socket
    name = fresh()
    for cut in (10, len(post(name, GOOD)) - 3):
        raw = Raw(s.port)
        raw.send(post(name, GOOD)[:cut])
        raw.socket.shutdown(socket.SHUT_WR)
        truth(raw.closed(), "closed without an answer")
    same(s.call("GET", name).status, 404, "the topic")


@case
def g12_what_is_owed_is_answered_when_its_sender_ends_within_a_later_body(s):
    import socket
    name = fresh()
    same(s.call("PUT", name, {"durability": "fsync"}).status, 201, "topic")
    chunked = request("POST", name, [("Content-Type", "application/json"), ("Transfer-Encoding", "chunked")], b"18\r\n" + GOOD.encode() + b"\r\n0\r\n")
    waits = request("POST", name, [("Content-Type", "application/json"), ("Content-Length", "24"), ("Expect", "100-continue")])
    head, (empty, poll) = 0, waiting_poll(s)
    packed = post(name, gzip.compress(GOOD.encode()), [("Content-Encoding", "gzip")])
    for half in (post(name, GOOD)[:-3], chunked, waits, packed[:-3], request("POST", "/nope", body=b"0123456789")[:-3]):
        for first, status, count in ((post(name, GOOD), 200, 1), (post(name, GOOD) * 3, 200, 3), (request("GET", name), 200, 0), (poll, 200, 0), (b"", None, 0)):
            raw = Raw(s.port).send(first + half)
            raw.socket.shutdown(socket.SHUT_WR)
            for _ in range(max(count, 1) if first else 0):
                same((raw.answer() or [None])[0], status, "what was owed before %r" % half[-60:])
            got = raw.answer()
            while got is not None and got[0] == 100:
                got = raw.answer()
            truth(got is None or (got[0] == 404 and b"/nope" in half), "answer to half a request: %r" % (got,))
            truth(raw.closed(), "closed")
            head += count
            same(s.call("GET", name).json["head_seq"], head, "head")
    same(s.call("GET", empty).json["head_seq"], 0, "head of the topic polled")
    before = counter(s, "connections")
    gone = [Raw(s.port).send(poll + waits + GOOD[:3].encode()) for _ in range(8)]
    until(lambda: counter(s, "long_polls") == len(gone), what="waiting polls")
    for raw in gone:
        raw.close()
    until(lambda: counter(s, "connections") <= before, what="the end of connections whose client is gone")


@case
def requests_split_at_every_byte_are_the_same_requests(s):
    name = fresh()
    whole = post(name, GOOD)
    chunked = request("POST", name, [("Content-Type", "application/json"), ("Transfer-Encoding", "chunked")], b"5;x=y\r\n" + GOOD[:5].encode() + b"\r\n13\r\n" + GOOD[5:].encode() + b"\r\n0\r\nT: v\r\n\r\n")
    raw, count = Raw(s.port), 0
    for message in (whole, chunked):
        for split in range(1, len(message)):
            raw.send(message[:split])
            raw.send(message[split:])
            count += 1
            same(json.loads(raw.answer()[2])["last_seq"], count, "seq after a split at %d" % split)


@case
def http_1_0_and_connection_headers_are_honoured(s):
    raw = Raw(s.port).send(request("GET", "/v0/health", version="HTTP/1.0", host=False))
    same(raw.answer()[1]["connection"], "close", "1.0 closes")
    truth(raw.closed(), "closed")
    raw = Raw(s.port).send(request("GET", "/v0/health", [("Connection", "keep-alive")], version="HTTP/1.0"))
    same(raw.answer()[1]["connection"], "keep-alive", "1.0 kept alive")
    same(raw.send(request("GET", "/v0/health", [("Connection", "close")])).answer()[1]["connection"], "close", "close on request")
    truth(raw.closed(), "closed")
    refused_and_closed(s, "POST /v0/topics/x/diff HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")


@case
def head_options_and_405_follow_the_routes(s):
    name = fresh()
    s.call("PUT", name, {})
    got = Raw(s.port).send(request("GET", name)).answer()
    raw = Raw(s.port).send(request("HEAD", name), request("GET", "/v0/health"))
    status, headers, body = raw.answer(head_only=True)
    truth(status == 200 and abs(int(headers["content-length"]) - int(got[1]["content-length"])) < 4, "HEAD %r" % headers)
    same(raw.answer()[0], 200, "in step after HEAD")
    answer = Raw(s.port).send(request("OPTIONS", name)).answer()
    same((answer[0], answer[1]["allow"]), (204, "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"), "OPTIONS")
    for method, path, allow in (("PATCH", "/v0/topics", "GET, HEAD, OPTIONS"), ("GET", name + "/diff", "POST, OPTIONS"), ("POST", name + "/records/1", "GET, HEAD, OPTIONS"),
                                ("FOO", "/v0/topics", None)):
        answer = Raw(s.port).send(request(method, path, [("Content-Length", "0")])).answer()
        same(answer[0], 405, "%s %s" % (method, path))
        truth(allow is None or answer[1]["allow"] == allow, "Allow %r" % answer[1].get("allow"))


@case
def content_types_are_checked_before_bodies_and_topics(s):
    for value, status in (("application/json", 404), ("APPLICATION/JSON; charset=utf-8", 404), ("application/jsonx", 415), ("text/plain", 415), ("application/x-www-form-urlencoded", 404), (None, 415)):
        headers = [("Content-Type", value)] if value else []
        same(Raw(s.port).send(request("POST", fresh() + "/diff", headers, b"{}")).answer()[0], status, "diff with %s" % value)
    same(Raw(s.port).send(request("POST", fresh(), [("Content-Type", "application/x-www-form-urlencoded")], GOOD.encode())).answer()[0], 415, "a form never writes")
    same(Raw(s.port).send(request("POST", fresh(), [("Content-Length", "0")])).answer()[0], 415, "empty without a type")
    same(Raw(s.port).send(request("POST", fresh(), [("Content-Length", "0"), ("Content-Type", "application/json")])).answer()[0], 400, "empty with a type")
    same(Raw(s.port).send(post(fresh(), GOOD, [("Content-Encoding", "identity")])).answer()[0], 201, "identity")


if __name__ == "__main__":
    sys.exit(cases.main(lambda: Server().start(), lambda server: server.close()))
