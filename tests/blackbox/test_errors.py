#!/usr/bin/env python3
"""Errors, their envelope, and the order of checks."""

import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness import cases  # noqa: E402
from harness.api import JSON, fresh, refused  # noqa: E402
from harness.cases import case, same, truth  # noqa: E402
from harness.raw import Raw, request  # noqa: E402
from harness.server import Server  # noqa: E402


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
def problem_json_and_head_hold_for_requests_that_are_refused_by_their_framing(s):
    many = [("X%d" % i, "y") for i in range(100)]
    wants = [("Accept", "application/problem+json")]
    for status, make in ((400, lambda f, m: request(m, "/v0/health", f, host=False)), (400, lambda f, m: request(m, "/v0/health", [("Content-Length", "x")] + f)),
                         (431, lambda f, m: request(m, "/v0/health", many + f)), (505, lambda f, m: request(m, "/v0/health", f, version="HTTP/1.2")),
                         (414, lambda f, m: request(m, "/" + "x" * 9000, f)), (431, lambda f, m: request(m, "/v0/health", f + [("X", "y" * 40000)]))):
        for fields, kind in ((wants, "application/problem+json"), ([], "application/json"), ([("Accept", "*/*")], "application/json")):
            got = Raw(s.port).send(make(fields, "GET")).answer()
            same((got[0], got[1]["content-type"], got[1]["connection"]), (status, kind, "close"), "%d with %r" % (status, fields))
            same(json.loads(got[2]).get("status"), status if fields is wants else None, "the body with %r" % fields)
        raw = Raw(s.port).send(make([], "HEAD"))
        same(raw.answer(head_only=True)[0], status, "HEAD")
        truth(raw.closed(), "no body follows")


if __name__ == "__main__":
    sys.exit(cases.main(lambda: Server().start(), lambda server: server.close()))
