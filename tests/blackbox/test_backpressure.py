#!/usr/bin/env python3
"""A log process that stands still under load: the ring fills, what does not fit waits or is told to slow down, nothing is dropped, done twice, or spins."""

import json
import os
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness import cases  # noqa: E402
from harness.cases import case, same, truth  # noqa: E402
from harness.raw import Raw, post, request  # noqa: E402
from harness.server import Server, until  # noqa: E402

RING = 8 << 20
SIZE = 64 << 10
TICKS = os.sysconf("SC_CLK_TCK")


class Client:
    """One connection with one append under way; its record says who it is."""

    def __init__(self, server, number, wait=False, size=SIZE):
        self.number, self.wait, self.answer = number, wait, None
        self.raw = Raw(server.port, timeout=60)
        self.raw.send(post("/v0/topics/t", json.dumps({"records": [{"data": {"n": number, "pad": "x" * size}}], "disable_backpressure": wait})))

    def poll(self):
        """Takes the answer if it has come."""
        if self.answer is None:
            self.raw.socket.setblocking(False)
            try:
                self.raw.got += self.raw.socket.recv(65536)
            except BlockingIOError:
                pass
            self.raw.socket.settimeout(60)
            if self.raw.got:
                self.read()
        return self.answer is not None

    def read(self):
        if self.answer is None:
            status, headers, body = self.raw.answer()
            self.answer = (status, headers, json.loads(body))
        return self.answer

    def outcome(self):
        status, _, body = self.read()
        return body["error"]["code"] if "error" in body else status


def cpu_seconds(pid):
    with open("/proc/%d/stat" % pid) as f:
        fields = f.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def state_of(pid):
    with open("/proc/%d/stat" % pid) as f:
        return f.read().rpartition(")")[2].split()[0]


def stored(server):
    """number -> how often a record of that number stands in the topic, and its seq."""
    counts, seqs, at = {}, {}, 0
    while True:
        page = server.call("POST", "/v0/topics/t/diff", {"from_seq": at, "max_batch_bytes": 8 << 20}).json
        same(page["tombstone"], None, "tombstone")
        for record in page["records"]:
            number = record["data"]["n"]
            counts[number] = counts.get(number, 0) + 1
            seqs[number] = record["$seq"]
        at = page["next_from_seq"]
        if page["caught_up"]:
            return counts, seqs


def judge(server, clients):
    """Every answer is true: acked once and where it says, refused never there, unknown at most once. And it came once."""
    counts, seqs = stored(server)
    for client in clients:
        outcome, there = client.outcome(), counts.get(client.number, 0)
        if outcome in (200, 201):
            same((there, seqs.get(client.number)), (1, client.answer[2]["first_seq"]), "acked record %d" % client.number)
        elif outcome == "commit_unknown":
            truth(there <= 1, "record %d stands %d times" % (client.number, there))
        else:
            truth(outcome in ("throttled", "storage_stalled"), "outcome %r" % outcome)
            same(there, 0, "record %d, refused with %s" % (client.number, outcome))
            truth(int(client.answer[1]["retry-after"]) >= 1, "Retry-After of %r" % (client.answer,))
    for client in clients:
        client.raw.send(request("GET", "/v0/health"))
        status, _, body = client.raw.answer()
        truth(status == 200 and json.loads(body)["status"] == "ok", "the next answer of the connection is the next request's")
        client.raw.close()


def stopped(body):
    server = Server(settings={"TOPICS_WORKERS": "1"}).start()
    logd = server.logd()
    try:
        server.call("PUT", "/v0/topics/t", {})
        os.kill(logd, signal.SIGSTOP)
        until(lambda: state_of(logd) == "T", what="its stop")
        body(server, logd)
    finally:
        os.kill(logd, signal.SIGCONT)
        server.close()


@case
def a_full_ring_parks_or_refuses_and_all_that_was_parked_is_answered_once_when_logd_goes_on(_):
    def body(server, logd):
        worker = server.workers()[0]
        clients = [Client(server, n, wait=n % 2 == 0) for n in range(2 * RING // SIZE)]
        cpu, began = cpu_seconds(worker), time.monotonic()
        until(lambda: any(c.poll() for c in clients), what="a refusal")
        used, passed = cpu_seconds(worker) - cpu, time.monotonic() - began
        first = [c for c in clients if c.answer]
        os.kill(logd, signal.SIGCONT)
        same({(c.wait, c.outcome()) for c in first}, {(False, "throttled")}, "who is refused while logd stands still")
        truth(passed < 0.2 or used < passed / 2, "the worker used %.2f s in %.2f s of waiting" % (used, passed))
        outcomes = [c.outcome() for c in clients]
        truth(outcomes.count(200) > RING // SIZE, "%d acked: those of the ring and those parked" % outcomes.count(200))
        judge(server, clients)
        same(server.call("POST", "/v0/topics/t", {"records": [{"data": {"n": -1}}]}).status, 200, "the server goes on")
    stopped(body)


@case
def small_requests_fill_the_slots_and_reads_go_on_meanwhile(_):
    def body(server, logd):
        slots = 4096
        links = [Raw(server.port, timeout=60) for _ in range(slots // 32 + 16)]
        one = '{"records":[{"data":{"n":%d}}],"disable_backpressure":true}'
        for index, link in enumerate(links):
            link.send(b"".join(post("/v0/topics/t", one % (index * 32 + k)) for k in range(32)))
        same(server.call("POST", "/v0/topics/t/diff", {}).json["records"], [], "reads go on")
        os.kill(logd, signal.SIGCONT)
        seqs = []
        for link in links:
            for _ in range(32):
                status, _, body = link.answer()
                same(status, 200, "status of %r" % body[:200])
                seqs.append(json.loads(body)["first_seq"])
            link.close()
        counts, where = stored(server)
        same(counts, {n: 1 for n in range(len(links) * 32)}, "records")
        same(seqs, [where[n] for n in range(len(seqs))], "answers belong to their requests, in order")
    stopped(body)


@case
def a_logd_that_stands_still_for_long_is_commit_unknown_for_what_it_has_and_storage_stalled_for_the_rest(_):
    def body(server, logd):
        first = [Client(server, n, wait=True) for n in range(RING // SIZE + 8)]
        same({c.outcome() for c in first}, {"commit_unknown", "storage_stalled"}, "what was handed over, and what waited for room")
        late = [Client(server, 1000 + n) for n in range(8)]
        same({c.outcome() for c in late}, {"storage_stalled"}, "what comes when nothing is waited for any more")
        os.kill(logd, signal.SIGCONT)
        until(lambda: server.call("POST", "/v0/topics/t", {"records": [{"data": {"n": -1}}]}).status == 200, what="a write")
        judge(server, first + late)
        counts, _ = stored(server)
        handed = [c for c in first if c.outcome() == "commit_unknown"]
        same([counts.get(c.number) for c in handed], [1] * len(handed), "what was in the ring is written late")
    stopped(body)


if __name__ == "__main__":
    sys.exit(cases.main(lambda: None))
