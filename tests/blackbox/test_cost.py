#!/usr/bin/env python3
"""What a record costs on the append and read paths (ARCHITECTURE §9): no call of the allocator and no system call. The same requests with one record and with a thousand are
counted within the real processes (tests/faults/shim.c); more records may cost what more bytes cost, a few calls a request."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness import cases  # noqa: E402
from harness.cases import case, same, truth  # noqa: E402
from harness.faults import CLASSES, World  # noqa: E402
from harness.server import send  # noqa: E402

REQUESTS, RECORDS = 20, 1000
MORE = REQUESTS * RECORDS // 100  # calls that a hundred times as many records may cost: ten a request


def append(link, cls, count):
    body = b'{"records":[' + b",".join(b'{"data":{"n":%d,"t":"abc"},"tag":"t%d"}' % (i, i % 7) for i in range(count)) + b"]}"
    answer = send(link, "POST", "/v0/topics/" + cls, body=body, headers={"Content-Type": "application/json"})
    same((answer.status, answer.json["count"]), (200, count), "answer")


def read(link, cls, count):
    same(len(send(link, "POST", "/v0/topics/" + cls + "/diff", {"from_seq": 0, "limit": count}).json["records"]), count, "records of a page")


def cost(world, link, request, cls, count):
    """Calls of the allocator, system calls: of some requests that are alike."""
    for place, call in enumerate(("malloc", "system")):
        world.plan.count(call, place)
    for _ in range(REQUESTS):
        request(link, cls, count)
    return world.plan.counted(0), world.plan.counted(1)


def cost_of_records(victim, request):
    world = World(victim=victim)
    try:
        link = world.server.link()
        for cls in CLASSES:
            for count in (RECORDS, 1) * 5:  # buffers grow to their size, and there is something to read
                append(link, cls, count)
                request(link, cls, count)
            one, thousand = (cost(world, link, request, cls, count) for count in (1, RECORDS))
            if "-t" in sys.argv:
                print("%s %s %s: %s for one record each, %s for a thousand" % (victim, request.__name__, cls, one, thousand))
            if victim == "topics-worker":
                truth(one[1] >= 2 * REQUESTS, "%d system calls: each request is received and answered" % one[1])
            for what, few, many in zip(("calls of the allocator", "system calls"), one, thousand):
                truth(many - few <= MORE, "%s: %d %s for one record a request, %d for a thousand" % (cls, few, what, many))
    finally:
        world.close()


@case
def worker_takes_records_without_a_call_for_each(_):
    cost_of_records("topics-worker", append)


@case
def log_process_takes_records_without_a_call_for_each(_):
    cost_of_records("topics-logd", append)


@case
def worker_reads_records_without_a_call_for_each(_):
    cost_of_records("topics-worker", read)


if __name__ == "__main__":
    sys.exit(cases.main(lambda: None))
