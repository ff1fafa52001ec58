#!/usr/bin/env python3
"""What a careful client relies on in heads: Date, Vary, entity tags, problem documents, OPTIONS, HEAD, HTTP/1.0, Server-Timing, fields over several lines."""

import email.utils
import json
import os
import re
import sys
import time
import uuid

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness import cases  # noqa: E402
from harness.cases import case, same, truth  # noqa: E402
from harness.raw import Raw, post, request  # noqa: E402
from harness.server import Server  # noqa: E402

GOOD = '{"records":[{"data":1}]}'
ROUTES = {"/v0/topics": "GET, HEAD", "/v0/topics/a": "GET, HEAD, POST, PUT, PATCH, DELETE", "/v0/topics/a/diff": "POST", "/v0/topics/a/records": "GET, HEAD", "/v0/topics/a/records/1": "GET, HEAD",
          "/v0/topics/a/delete": "POST", "/v0/topics/a/claim": "POST", "/v0/topics/a/work": "GET, HEAD", "/v0/routers": "GET, HEAD", "/v0/routers/a": "GET, HEAD, PUT, DELETE",
          "/v0/watch": "POST", "/v0/watch/wid_x": "GET, HEAD", "/v0/ws": "GET, HEAD", "/v0/metrics": "GET, HEAD", "/v0/health": "GET, HEAD", "/healthz": "GET, HEAD", "/v0/ready": "GET, HEAD",
          "/readyz": "GET, HEAD"}


def fresh():
    return "/v0/topics/n-" + uuid.uuid4().hex[:12]


def ask(s, method, target, headers=(), **kw):
    return Raw(s.port).send(request(method, target, headers, **kw)).answer(head_only=method == "HEAD")


@case
def every_answer_says_the_time(s):
    name = fresh()
    for message in (request("GET", "/v0/health"), post(name, GOOD), request("GET", "/v0/nowhere"), request("OPTIONS", "*"), b"bad\r\n\r\n"):
        date = Raw(s.port).send(message).answer()[1]["date"]
        truth(re.fullmatch(r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT", date), "form of %r" % date)
        truth(abs(email.utils.parsedate_to_datetime(date).timestamp() - time.time()) < 3, "value of %r" % date)


@case
def entity_tags_are_compared_in_lists(s):
    name = fresh()
    s.call("POST", name, {"records": [{"data": 1}]})
    tag = ask(s, "GET", name)[1]["etag"]
    state = s.call("GET", name).json
    same(tag, '"%s-%d"' % (state["epoch"], 1), "tag")
    for value, status in ((tag, 304), ("W/" + tag, 304), ("*", 304), ('"x", ' + tag, 304), ('"x",W/"y" , ' + tag + ',', 304), ('"x"', 200), (tag.strip('"'), 200), (tag[:-1] + '0"', 200),
                          ('"a' + tag[1:], 200), ('"x' + tag + '"', 200), ('', 200)):
        for method in ("GET", "HEAD"):
            raw = Raw(s.port).send(request(method, name, [("If-None-Match", value)]), request("GET", "/v0/health"))
            got = raw.answer(head_only=method == "HEAD")
            same((got[0], got[1]["etag"]), (status, tag), "%s with %r" % (method, value))
            truth(status != 304 or ("content-length" not in got[1] and "date" in got[1] and "vary" in got[1]), "head of the 304 %r" % (got[1],))
            same(raw.answer()[0], 200, "in step")
    same(Raw(s.port).send(request("GET", name, [("If-None-Match", '"x"'), ("If-None-Match", tag)])).answer()[0], 304, "two lines")
    s.call("POST", name, {"records": [{"data": 2}]})
    same(ask(s, "GET", name, [("If-None-Match", tag)])[0], 200, "after a write")


@case
def problem_documents_go_to_who_prefers_them(s):
    for value, wanted in (("application/problem+json", True), ("application/json, application/problem+json", True), ("application/problem+json;q=0.5, application/json", False),
                          ("application/problem+json;q=0", False), ("*/*", False), ("application/*", False), ("text/html", False), ("APPLICATION/PROBLEM+JSON", True),
                          ('text/plain; x="application/problem+json"', False), ("application/problem+json-seq", False)):
        status, headers, body = ask(s, "GET", fresh(), [("Accept", value)])
        document = json.loads(body)
        same((status, headers["content-type"]), (404, "application/problem+json" if wanted else "application/json"), "answer to %r" % value)
        truth("accept" in headers["vary"].lower().replace("accept-encoding", ""), "Vary %r" % headers["vary"])
        if wanted:
            same((document["status"], document["code"], document["title"], document["type"]), (404, "topic_not_found", "Not Found", "about:blank"), "document")
            truth(document["detail"] and document["info"]["topic"], "document %r" % document)
        else:
            same(set(document), {"error"}, "envelope")
    status, headers, body = Raw(s.port).send(request("GET", fresh(), [("Accept", "application/json;q=0.1"), ("Accept", "application/problem+json")])).answer()
    same(headers["content-type"], "application/problem+json", "two lines")
    for bad in (post(fresh(), "{"), request("BREW", "/v0/topics"), request("POST", fresh(), [], b"x"), request("GET", "/v0/topics/%00")):
        bad = bad.replace(b"\r\n", b"\r\nAccept: application/problem+json\r\n", 1)
        status, headers, body = Raw(s.port).send(bad).answer()
        same((headers["content-type"], json.loads(body)["status"]), ("application/problem+json", status), "problem of %r" % bad[:60])


@case
def options_answers_everywhere(s):
    for target, allow in ROUTES.items():
        status, headers, body = ask(s, "OPTIONS", target)
        same((status, headers["allow"], body), (204, allow + ", OPTIONS", b""), "OPTIONS " + target)
        truth("content-length" not in headers and "content-type" not in headers, "head %r" % headers)
    status, headers, _ = ask(s, "OPTIONS", "*")
    truth(status == 204 and {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} == set(headers["allow"].split(", ")), "OPTIONS *")
    same(ask(s, "OPTIONS", "/v0/nowhere")[0], 404, "no route")
    same(ask(s, "OPTIONS", "/v0/topics/%00")[0], 400, "no name")
    raw = Raw(s.port).send(request("OPTIONS", "/v0/topics", [("Content-Length", "5")], b"12345"), request("GET", "/v0/health"))
    same([raw.answer()[0], raw.answer()[0]], [204, 200], "with a body")


@case
def head_is_get_without_its_body(s):
    name = fresh()
    s.call("POST", name, {"records": [{"data": 1}]})
    for target in ("/v0/topics", name, name + "/records", name + "/records/1", name + "/records/7", "/v0/health", "/healthz", "/v0/ready", "/readyz", "/v0/nowhere", fresh()):
        get = ask(s, "GET", target)
        raw = Raw(s.port).send(request("HEAD", target), request("HEAD", target), request("GET", "/v0/health"))
        for _ in range(2):
            head = raw.answer(head_only=True)
            same((head[0], set(head[1])), (get[0], set(get[1])), "HEAD " + target)
            truth(abs(int(head[1]["content-length"]) - len(get[2])) <= 3, "length of " + target)
        same(raw.answer()[0], 200, "in step after HEAD " + target)
    same(ask(s, "HEAD", name + "/diff")[0], 405, "no GET, no HEAD")


@case
def http_1_0_gets_a_length_and_a_close(s):
    name = fresh()
    body = json.dumps({"records": [{"data": "x" * 5000}]})
    same(Raw(s.port).send(post(name, body, version="HTTP/1.0", host=False)).answer()[0], 201, "append")
    for kept in (False, True):
        headers = [("Connection", "Keep-Alive")] if kept else []
        raw = Raw(s.port).send(request("GET", name + "/records", headers + [("Accept-Encoding", "gzip")], version="HTTP/1.0", host=False))
        status, got, data = raw.answer()
        same((status, got["connection"], int(got["content-length"])), (200, "keep-alive" if kept else "close", len(data)), "answer")
        truth("transfer-encoding" not in got, "chunks for 1.0")
        if kept:
            same(raw.send(request("GET", "/v0/health", version="HTTP/1.0")).answer()[1]["connection"], "close", "then close")
        truth(raw.closed(), "closed")
    raw = Raw(s.port).send(request("GET", "/v0/health", [("Connection", "close"), ("Connection", "keep-alive")], version="HTTP/1.0"))
    same(raw.answer()[1]["connection"], "close", "close wins")
    same(Raw(s.port).send(post(name, GOOD, [("Expect", "100-continue")], version="HTTP/1.0")).answer()[0], 200, "1.0 knows no 100")


@case
def server_timing_says_what_performance_says(s):
    name = fresh()
    for message in (post(name, GOOD), post(name + "/diff", "{}"), request("GET", name), request("GET", "/v0/topics")):
        status, headers, body = Raw(s.port).send(message).answer()
        parts = dict(p.split(";dur=") for p in headers["server-timing"].split(", "))
        same(list(parts)[0], "total", "first entry")
        performance = json.loads(body)["performance"]
        same(float(parts["total"]), performance["server_total_ms"], "total")
        for timing, field in (("wal", "wal_append_ms"), ("fsync", "fsync_ms"), ("throttle", "throttle_wait_ms")):
            same(timing in parts, field in performance, field)


@case
def fields_that_may_stand_once_are_refused_twice(s):
    for fields in ((("Content-Type", "text/plain"), ("Content-Type", "application/json")), (("Idempotency-Key", "a"), ("Idempotency-Key", "b"), ("Content-Type", "application/json"))):
        raw = Raw(s.port).send(request("POST", fresh(), fields, GOOD.encode()))
        same(raw.answer()[0], 400, "answer to %r" % (fields,))
        truth(raw.closed(), "closed")
    same(Raw(s.port).send(request("POST", fresh(), [("Content-Type", "application/json"), ("Expect", "moon"), ("Expect", "100-continue")], GOOD.encode())).answer()[0], 417, "two expectations")


@case
def an_unknown_method_is_405_with_what_is_allowed(s):
    raw = Raw(s.port)
    for method in ("BREW", "get", "G", "M-SEARCH", "CONNEC", "PURGE", "X" * 32):
        raw.send(request(method, "/v0/topics", [("Content-Length", "3")], b"abc"))
        same((raw.answer()[:2][1].get("allow")), "GET, HEAD, OPTIONS", "Allow for " + method)
    same(raw.send(request("GET", "/v0/health")).answer()[0], 200, "in step")
    same(Raw(s.port).send(request("BREW", "/v0/nowhere")).answer()[0], 404, "no route")


@case
def answers_to_an_unusable_type_say_what_is_taken(s):
    status, headers, _ = ask(s, "POST", fresh(), [("Content-Type", "text/plain")], body=b"x")
    same((status, headers["accept"]), (415, "application/json"), "answer")


if __name__ == "__main__":
    sys.exit(cases.main(lambda: Server().start(), lambda server: server.close()))
