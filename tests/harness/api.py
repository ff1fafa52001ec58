"""Short words for the calls that nearly every case makes."""

import uuid

from .cases import same, truth

JSON = {"Content-Type": "application/json"}


def fresh():
    return "t-" + uuid.uuid4().hex[:12]


def refused(answer, status, code):
    """The answer is this error in the envelope of every error; returns the inside of the envelope."""
    same((answer.status, answer.code), (status, code), "answer %r" % answer)
    same(set(answer.json), {"error"}, "keys beside the envelope's")
    error = answer.json["error"]
    truth(set(error) <= {"code", "message", "detail"} and error["message"], "envelope %r" % error)
    if status in (429, 503):
        truth(int(answer.headers["retry-after"]) >= 1, "Retry-After of %r" % answer)
    return error


def append(s, topic, *datas, **more):
    return s.call("POST", "/v0/topics/" + topic, dict({"records": [{"data": d} for d in datas]}, **more))


def text(s, topic, body, tail=""):
    return s.call("POST", "/v0/topics/" + topic + tail, body=body if isinstance(body, bytes) else body.encode(), headers=JSON)


def diff(s, topic, **question):
    answer = s.call("POST", "/v0/topics/%s/diff" % topic, question)
    same(answer.status, 200, "status of diff %r" % answer)
    return answer.json
