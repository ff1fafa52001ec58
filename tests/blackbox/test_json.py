#!/usr/bin/env python3
"""JSON in and out (FAULTS H): grammar, verbatim payloads, limits of nesting and size."""

import os
import sys

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
def a_million_keys_and_a_mebibyte_key_cost_linear_time(s):
    name = fresh()
    keys = ",".join('"k%d":1' % i for i in range(60000))
    same(text(s, name, '{"records":[{"data":{%s}}],%s}' % (keys, keys)).status, 201, "many keys")
    same(text(s, name, '{"records":[{"data":1}],"%s":1}' % ("k" * (1 << 20))).status, 200, "a long key")


if __name__ == "__main__":
    sys.exit(cases.main(lambda: Server().start(), lambda server: server.close()))
