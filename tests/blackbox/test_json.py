#!/usr/bin/env python3
"""JSON in and out (FAULTS H): grammar, verbatim payloads, limits of nesting and size."""

import itertools
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness import cases  # noqa: E402
from harness.api import fresh, refused, text  # noqa: E402
from harness.cases import case, same, truth  # noqa: E402
from harness.server import Server  # noqa: E402


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
def depth_up_to_the_limit_is_kept_and_past_it_costs_no_stack(s):
    for shape in (("[", "]"), ('{"a":', "}")):
        for depth, status in ((64, 201), (125, 201), (126, 400), (100000, 400)):
            name, data = fresh(), shape[0] * depth + ("1" if shape[0] != "[" else "") + shape[1] * depth
            answer = text(s, name, '{"records":[{"data":%s}]}' % data)
            same(answer.status, status, "%r to depth %d" % (shape[0], depth))
            if status == 201:
                truth(b'"data":' + data.encode() + b"}" in s.call("POST", "/v0/topics/%s/diff" % name, {}).body, "depth %d is kept" % depth)
    workers = s.workers()
    for body in ("[" * 10000000, '{"records":[{"data":' + "[" * 10000000, '{"x":' * 2000000):
        refused(text(s, fresh(), body), 400, "invalid_request")
    same(s.workers(), workers, "workers after ten million brackets")


@case
def unknown_fields_may_be_as_deep_as_the_document_may_be(s):
    for depth, status in ((127, 201), (128, 400)):
        same(text(s, fresh(), '{"records":[{"data":1}],"x":%s%s}' % ("[" * depth, "]" * depth)).status, status, "an unknown field of depth %d" % depth)
        same(text(s, fresh(), '{"x":%s%s}' % ("[" * depth, "]" * depth), "/diff").status, 404 if status == 201 else 400, "diff, depth %d" % depth)


@case
def text_that_is_no_utf8_is_refused_wherever_it_stands(s):
    bad = (b"\x80", b"\xc3", b"\xc0\x80", b"\xe0\x80\x80", b"\xf0\x80\x80\x80", b"\xed\xbf\xbf", b"\xf5\x80\x80\x80", b"\xfe", b"\xe2\x82")
    places = (b'{"records":[{"data":"%s"}]}', b'{"records":[{"data":1,"meta":{"a":"%s"}}]}', b'{"records":[{"data":{"%s":1}}]}', b'{"records":[{"data":1,"tag":"%s"}]}',
              b'{"records":[{"data":1}],"node":"%s"}', b'{"records":[{"data":1}],"x":"%s"}', b'{"records":[{"data":1}],"%s":1}')
    for piece in bad:
        for place in places:
            error = refused(text(s, fresh(), place % piece), 400, "invalid_request")
            truth(abs(error["detail"]["offset"] - place.index(b"%s")) <= 3, "offset %d in %r" % (error["detail"]["offset"], place % piece))
    for encoding in ("utf-16-le", "utf-16-be", "utf-16", "utf-32", "utf-8-sig"):
        refused(text(s, fresh(), '{"records":[{"data":1}]}'.encode(encoding)), 400, "invalid_request")


@case
def lone_surrogates_are_kept_in_payloads_and_refused_in_what_is_interpreted(s):
    for odd in ("\\uD800", "\\uDC00", "\\uDC00\\uD800", "\\uD800\\uD800", "\\uD800x", "\\ud83d"):
        name = fresh()
        same(text(s, name, '{"records":[{"data":"%s","meta":{"%s":"%s"}}]}' % (odd, odd, odd)).status, 201, "%s in data and meta" % odd)
        body = s.call("POST", "/v0/topics/%s/diff" % name, {"include_meta": True}).body
        truth(('"data":"%s"' % odd).encode() in body and ('{"%s":"%s"}' % (odd, odd)).encode() in body, "%s is kept" % odd)
        for body in ('{"records":[{"data":1,"tag":"%s"}]}', '{"records":[{"data":1,"node":"%s"}]}', '{"records":[{"data":1}],"node":"%s"}',
                     '{"records":[{"data":1}],"idempotency_key":"%s"}', '{"records":[{"data":1}],"config":{"dead_letter":"%s"}}'):
            refused(text(s, name, body % odd), 400, "invalid_request")
        refused(text(s, name, '{"node":"%s"}' % odd, "/diff"), 400, "invalid_request")
    name = fresh()
    same(text(s, name, '{"records":[{"data":1,"tag":"\\ud83d\\ude80"}]}').status, 201, "a pair")
    same(s.call("POST", "/v0/topics/%s/diff" % name, {"include_tags": True}).json["records"][0]["$tag"], "\U0001f680", "the tag")


@case
def known_fields_may_not_come_twice_but_unknown_ones_may(s):
    for body in ('{"records":[{"data":1}],"records":[{"data":1}]}', '{"records":[{"data":1,"data":2}]}', '{"records":[{"data":1,"tag":"a","tag":"a"}]}',
                 '{"records":[{"data":1,"meta":{},"meta":{}}]}', '{"records":[{"data":1}],"node":"a","n\\u006fde":"b"}', '{"records":[{"data":1}],"config":{"ttl_ms":1,"ttl_ms":1}}'):
        refused(text(s, fresh(), body), 400, "invalid_request")
    refused(text(s, fresh(), '{"from_seq":0,"from_seq":0}', "/diff"), 400, "invalid_request")
    same(text(s, fresh(), '{"records":[{"data":1,"x":1,"x":2}],"x":1,"x":2}').status, 201, "unknown fields")


@case
def integers_of_the_envelope_are_plain_and_within_64_bits(s):
    name = fresh()
    text(s, name, '{"records":[{"data":1}]}')
    for value in ("0", "1", "18446744073709551615"):
        same(text(s, name, '{"from_seq":%s}' % value, "/diff").status, 200, "from_seq %s" % value)
    for value in ("18446744073709551616", "1e400", "1E1", "1.0", "-1", "-0", "01", "+1", "NaN", "Infinity", "0x1", '"1"', "true", "null", "1" * 100000, "[1]", "{}"):
        refused(text(s, name, '{"from_seq":%s}' % value, "/diff"), 400, "invalid_request")
        refused(text(s, name, '{"records":[{"data":1}],"expect_head_seq":%s}' % value), 400, "invalid_request")
    same(s.call("GET", "/v0/topics/" + name).json["head_seq"], 1, "head")


@case
def a_mebibyte_of_digits_is_a_number(s):
    name, digits = fresh(), b"7" * ((1 << 20) - 1)
    same(text(s, name, b'{"records":[{"data":-' + digits + b"}]}").status, 201, "a mebibyte of digits")
    truth(b'"data":-' + digits + b"}" in s.call("POST", "/v0/topics/%s/diff" % name, {}).body, "it is kept")
    same(text(s, name, b'{"records":[{"data":-' + digits + b"7}]}").code, "record_too_large", "a digit more")


@case
def what_is_no_json_document_is_refused(s):
    for body in (b"", b" ", b"nul", b"null", b"1", b'"a"', b"[]", b"[1,]", b"{", b"{}x", b"{} {}", b'{"a":1,}', b'{"a" 1}', b"{'a':1}", b'{a:1}', b"{}\x00", b"\x00{}",
                 b'{"records":[{"data":"a\nb"}]}', b'{"records":[{"data":"\x00"}]}', b'{"records":[{"data":"\x1f"}]}', b'// x\n{}', b'{"records":[{"data":1}]} // x',
                 b'{"records":[{"data":1}]}\x0c', b'{"records":[{"data":\xa01}]}', b'{"records":[{"data":"\\u12G4"}]}', b'{"records":[{"data":"\\U0041"}]}'):
        name = fresh()
        refused(text(s, name, body), 400, "invalid_request")
        same(s.call("GET", "/v0/topics/" + name).status, 404, "a topic made by %r" % body)


def seconds_of(s, body):
    """The best of three, since others use the machine too."""
    times = []
    for _ in range(3):
        began = time.monotonic()
        same(text(s, fresh(), body).status, 201, "status")
        times.append(time.monotonic() - began)
    return min(times)


@case
def many_keys_that_collide_and_long_ones_cost_linear_time(s):
    """Keys whose hashes are equal under the usual multiplicative functions (31, 33): `Aa` and `BB` in every order."""
    def keys(count):
        return ",".join(['"%s":1' % "".join(key) for key in itertools.islice(itertools.product(("Aa", "BB"), repeat=20), count)])
    small, large = seconds_of(s, '{"records":[{"data":1}],%s}' % keys(1 << 16)), seconds_of(s, '{"records":[{"data":1}],%s}' % keys(1 << 20))
    truth(large < 16 * 6 * max(small, 0.01), "16 times the keys take %.3f s after %.3f s" % (large, small))
    seconds_of(s, '{"records":[{"data":{%s}}]}' % keys(22000))
    for length in (1 << 10, (1 << 20) - 20):
        name, key = fresh(), "k" * length
        same(text(s, name, '{"records":[{"data":{"%s":1}}],"%s":1}' % (key, key)).status, 201, "a key of %d bytes" % length)
        truth(('"data":{"%s":1}' % key).encode() in s.call("POST", "/v0/topics/%s/diff" % name, {}).body, "it is kept")
    for worker in s.workers():
        with open("/proc/%d/status" % worker) as f:
            peak = int(f.read().partition("VmHWM:")[2].split()[0])
        truth(peak < 600 << 10, "a worker used %d KiB" % peak)


if __name__ == "__main__":
    sys.exit(cases.main(lambda: Server().start(), lambda server: server.close()))
