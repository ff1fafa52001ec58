#!/usr/bin/env python3
"""Clients that are slow, idle or too many (FAULTS G8, G12, D7): deadlines, least rates, ten thousand held connections, descriptors that run out, the budget of a worker."""

import json
import multiprocessing
import os
import resource
import select
import socket
import struct
import sys
import threading
import time
import uuid

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness import cases  # noqa: E402
from harness.cases import case, same, truth  # noqa: E402
from harness.raw import Raw, post, request  # noqa: E402
from harness.server import Server, until  # noqa: E402

GOOD = '{"records":[{"data":1}]}'
MIB = 1 << 20
LIMIT_MS = 1000


def fresh():
    return "/v0/topics/s-" + uuid.uuid4().hex[:12]


def patient(port):
    return Raw(port, 30)


def descriptors(s):
    """Sockets of all workers."""
    count = 0
    for pid in s.workers():
        for fd in os.listdir("/proc/%d/fd" % pid):
            try:
                count += os.readlink("/proc/%d/fd/%s" % (pid, fd)).startswith("socket:")
            except OSError:
                pass
    return count


def connections(s):
    """Connections to the server that are open on its side, as the kernel counts them."""
    with open("/proc/net/tcp") as f:
        return sum(line.split()[1].endswith(":%04X" % s.port) and line.split()[3] == "01" for line in f)


def resident(s):
    total = 0
    for pid in s.workers():
        with open("/proc/%d/status" % pid) as f:
            total += sum(int(line.split()[1]) for line in f if line.startswith("RssAnon")) * 1024
    return total


def large_topic(s, mib=8):
    """A topic whose records are read in answers of `mib` MiB."""
    name = fresh()
    data = "x" * 60000
    for _ in range(mib):
        same(s.call("POST", name, {"records": [{"data": data}] * 17}).status in (200, 201), True, "append")
    return name, post(name + "/diff", '{"limit":1000,"max_batch_bytes":8388608}')


def unread(s, ask):
    """A connection with a small receive buffer that has asked and does not read."""
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    one.settimeout(30)
    one.connect(("127.0.0.1", s.port))
    one.sendall(ask)
    return one


# ---- deadlines and least rates ----

@case
def a_connection_that_says_nothing_is_closed(s):
    raw = patient(s.port)
    truth(raw.closed(), "closed without a word")
    raw = patient(s.port).send("\r\n")
    answer = raw.answer()
    truth(answer is None or answer[0] == 408, "an empty line is not a request: %r" % (answer,))


def drip(raw, pieces, pause):
    """Sends the pieces one by one until the server answers; the answer."""
    for piece in pieces:
        if select.select([raw.socket], [], [], pause)[0]:
            break
        try:
            raw.send(piece)
        except OSError:
            break
    return raw.answer()


@case
def a_slow_head_is_408_although_it_goes_on(s):
    endless = [b"GET /v0/health HTTP/1.1\r\nHost: h\r\nX: "] + [b"x"] * 200
    for before in ((), (request("GET", "/v0/health"),)):
        raw = patient(s.port).send(*before)
        for _ in before:
            same(raw.answer()[0], 200, "the request before")
        answer = drip(raw, endless, 0.05)
        same((answer[0], json.loads(answer[2])["error"]["code"], answer[1]["connection"]), (408, "request_timeout", "close"), "answer")
        truth(raw.closed(), "closed")


@case
def a_head_that_never_comes_whole_is_408_in_the_form_that_its_lines_ask_for(s):
    start, wants = "%s /v0/health HTTP/1.1\r\nHost: h\r\n", "Accept: application/problem+json"
    for text, kind in ((wants + "\r\nX: ", "application/problem+json"), (wants, "application/json"), ("", "application/json")):
        answer = patient(s.port).send(start % "GET" + text).answer()
        same((answer[0], answer[1]["content-type"], answer[1]["connection"]), (408, kind, "close"), "answer to %r" % text)
        same(json.loads(answer[2]).get("status"), 408 if "problem" in kind else None, "its body")
    raw = patient(s.port).send(start % "HEAD")
    same(raw.answer(head_only=True)[0], 408, "HEAD")
    truth(raw.closed(), "no body follows")


@case
def an_answer_that_stands_behind_a_long_poll_is_not_unread(s):
    name = fresh()
    s.call("PUT", name, {})
    raw = patient(s.port).send(post(name + "/diff", '{"wait_ms":%d}' % (4 * LIMIT_MS)) + request("GET", "/v0/nowhere"))
    same([raw.answer()[0] for _ in range(2)], [200, 404], "the poll at its end, then the answer that was there before it")


@case
def who_waits_for_leave_behind_a_long_poll_is_not_late(s):
    name = fresh()
    s.call("PUT", name, {})
    expects = request("POST", name, [("Content-Type", "application/json"), ("Content-Length", str(len(GOOD))), ("Expect", "100-continue")])
    raw = patient(s.port).send(post(name + "/diff", '{"wait_ms":%d}' % (4 * LIMIT_MS)) + expects)
    same([raw.answer()[0] for _ in range(2)], [200, 100], "the poll at its end, then leave to go on")
    same(raw.send(GOOD).answer()[0], 200, "the answer")
    raw = patient(s.port).send(request("GET", name) + expects)
    same([raw.answer()[0] for _ in range(3)], [200, 100, 408], "who does not go on is late")


@case
def a_slow_body_is_408_and_stores_nothing(s):
    name = fresh()
    s.call("PUT", name, {})
    head = [("Content-Type", "application/json")]
    for start, piece in ((request("POST", name, head + [("Content-Length", "1000")]), b" "), (request("POST", name, head + [("Transfer-Encoding", "chunked")]), b"1\r\n \r\n"),
                         (request("POST", name, head + [("Content-Length", "1000"), ("Content-Encoding", "gzip")]), b"\x1f")):
        raw = patient(s.port)
        answer = drip(raw, [start] + [piece] * 200, 0.05)
        truth(answer[0] == 408 or (answer[0] == 400 and piece == b"\x1f"), "answer %r" % (answer,))
        truth(raw.closed(), "closed")
    same(s.call("GET", name).json["head_seq"], 0, "head")


@case
def an_honest_slow_body_lives_longer_than_the_deadline(s):
    name, raw = fresh(), patient(s.port)
    body = b'{"records":[{"data":"' + b"x" * 30000 + b'"}]}'
    raw.send(request("POST", name, [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]))
    began = time.monotonic()
    for at in range(0, len(body), 1500):
        raw.send(body[at:at + 1500])
        select.select([raw.socket], [], [], 0.2)
    same(raw.answer()[0], 201, "answer")
    truth(time.monotonic() - began > 2 * LIMIT_MS / 1000, "it took longer than the deadline")


@case
def a_reader_that_does_not_read_is_closed_and_one_that_is_slow_is_served(s):
    name, ask = large_topic(s)
    until(lambda: not connections(s), what="the end of earlier connections")
    stuck = [unread(s, ask) for _ in range(4)]
    until(lambda: connections(s) == 4, what="the connections")
    until(lambda: not connections(s), what="their end")
    slow, got = unread(s, ask), 0
    began = time.monotonic()
    while time.monotonic() - began < 3 * LIMIT_MS / 1000:
        got += len(slow.recv(65536))
        select.select([], [], [], 0.02)
    raw = Raw(s.port)
    raw.socket.close()
    raw.socket, raw.got = slow, b""
    data = bytearray()
    while True:
        piece = slow.recv(1 << 20)
        data += piece
        if not piece or data.endswith(b"}}"):
            break
    truth(got + len(data) > 7 * MIB and data.endswith(b"}}"), "the whole answer, %d bytes" % (got + len(data)))
    for one in stuck:
        one.close()


@case
def a_kept_connection_may_be_idle_ten_times_as_long(s):
    raw = patient(s.port)
    for _ in range(2):
        same(raw.send(request("GET", "/v0/health")).answer()[0], 200, "answer")
        select.select([], [], [], 2.5 * LIMIT_MS / 1000)
    same(raw.send(request("GET", "/v0/health")).answer()[0], 200, "answer after the wait")
    began = time.monotonic()
    truth(raw.closed() and time.monotonic() - began > 5 * LIMIT_MS / 1000, "closed in the end")


@case
def a_reset_or_half_closed_flood_leaves_nothing(s):
    until(lambda: not connections(s), what="the end of earlier connections")
    name = fresh()
    for i in range(600):
        raw = Raw(s.port)
        raw.send(post(name, GOOD)[:i % 120], b"")
        if i % 3 == 0:
            raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif i % 3 == 1:
            raw.socket.shutdown(socket.SHUT_WR)
        raw.close()
    same(s.call("GET", name).status, 404, "nothing was stored")
    until(lambda: not connections(s), what="the end of all connections")


# ---- ten thousand ----

def army(port, ask, wanted, pipe):
    """Holds connections of four kinds and keeps the slow ones dripping."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    head = b"POST /v0/topics/held HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n"
    kinds = ((head, b"X"), (head + b"Content-Length: 100000\r\n\r\n" + b" " * 2000, b" "), (ask, None), (b"", None))
    links = []
    for i in range(min(wanted, hard - 200)):
        link = socket.socket()
        link.connect(("127.0.0.1", port))
        link.sendall(kinds[i % 4][0])
        links.append((link, kinds[i % 4][1]))
    pipe.send(len(links))
    at, lost = 0, 0
    while not pipe.poll(0.02):
        for _ in range(100):
            link, piece = links[at % len(links)]
            at += 1
            try:
                lost += piece is not None and link.send(piece) != 1
            except OSError:
                lost += 1
    pipe.recv()
    pipe.send(lost)
    os._exit(0)


def times_of(s, count):
    """Seconds of requests of a healthy client, in order; all of them must be answered well."""
    read, write, times = Raw(s.port), Raw(s.port), []
    for i in range(count):
        began = time.monotonic()
        if i % 2:
            same(read.send(post("/v0/topics/held/diff", '{"limit":1}')).answer()[0], 200, "read")
        else:
            same(write.send(post("/v0/topics/held", GOOD)).answer()[0], 200, "append")
        times.append(time.monotonic() - began)
    return sorted(times)


@case
def ten_thousand_held_connections_leave_a_healthy_client_alone(_):
    s = Server(settings={"TOPICS_IDLE_TIMEOUT_MS": 600000}).start()
    try:
        s.call("POST", "/v0/topics/held", {"records": [{"data": "x" * 20000}]})
        open_before = until(lambda: not connections(s) and descriptors(s), what="the end of the first connections")
        ask = post("/v0/topics/held/diff", '{"limit":1}')
        times_of(s, 200)
        idle, memory = times_of(s, 2000), resident(s)
        ours, theirs = multiprocessing.Pipe()
        holder = multiprocessing.get_context("fork").Process(target=army, args=(s.port, ask, 10000, theirs))
        holder.start()
        held = ours.recv()
        until(lambda: descriptors(s) >= open_before + held, what="all held connections")
        busy, grown = times_of(s, 2000), resident(s) - memory
        same(s.call("GET", "/v0/ready").status, 200, "ready")
        truth(grown < held * 24 * 1024, "%d bytes a held connection" % (grown // held))
        ours.send("stop")
        same(ours.recv(), 0, "held connections that the server dropped")
        holder.join()
        until(lambda: descriptors(s) <= open_before, 60, what="the end of all held connections")
        same(times_of(s, 20)[0] > 0, True, "served afterwards")
        at = lambda times, part: times[int(len(times) * part)] * 1e3  # noqa: E731
        print("figures: %d held: p50 %.2f ms (idle %.2f), p99 %.2f ms (idle %.2f, ratio %.2f), %d bytes each" % (
            held, at(busy, .5), at(idle, .5), at(busy, .99), at(idle, .99), at(busy, .99) / at(idle, .99), grown // held))
    finally:
        s.close()


# ---- descriptors ----

def answered(raw):
    return bool(select.select([raw.socket], [], [], 0)[0])


@case
def accepting_pauses_without_descriptors_and_goes_on(_):
    s = Server(settings={"TOPICS_WORKERS": 1, "TOPICS_SEGMENT_MAX_BYTES": 65536}, most_files=640).start()
    try:
        name = fresh()
        worker, old = s.workers()[0], Raw(s.port)
        same(old.send(post(name, GOOD)).answer()[0], 201, "append before")
        crowd = [Raw(s.port) for _ in range(900)]
        for raw in crowd:
            raw.send(request("GET", "/v0/health"))
        until(lambda: sum(answered(raw) for raw in crowd) > 5, what="answers to some")
        # Files of the log that the worker has not seen yet need descriptors too.
        for i in range(100):
            same(old.send(post(name, json.dumps({"records": [{"data": "x" * 5000}]}))).answer()[0], 200, "append of an existing client")
            same(old.send(post(name + "/diff", '{"from_seq":%d}' % (i // 2))).answer()[0], 200, "read of an existing client")
        truth(sum(answered(raw) for raw in crowd) < 640, "connections beyond the limit wait")
        for raw in crowd:
            same(raw.answer()[0], 200, "answer in the end")
            raw.close()
        same(s.call("GET", "/v0/ready").status, 200, "ready")
        same(s.workers(), [worker], "the worker")
    finally:
        s.close()


# ---- the budget of a worker ----

BUDGET = MIB


def budgeted(**more):
    return Server(settings=dict({"TOPICS_WORKERS": 1, "TOPICS_WORKER_BUDGET_BYTES": BUDGET}, **more)).start()


def large_body(i, size=400000):
    return (b'{"records":[{"data":{"i":%d,"t":"' % i) + b"x" * size + b'"}}]}'


@case
def bodies_beyond_the_budget_wait_their_turn_and_all_arrive(_):
    s = budgeted()
    try:
        name, links = fresh(), []
        s.call("PUT", name, {})
        before = resident(s)
        for i in range(40):
            body = large_body(i)
            raw = patient(s.port).send(request("POST", name, [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]), body[:200000])
            links.append((raw, body[200000:]))
        truth(resident(s) - before < 4 * BUDGET, "bodies of %d bytes are held" % (resident(s) - before))
        same(Raw(s.port).send(request("GET", "/v0/health")).answer()[0], 200, "a small request meanwhile")
        same(Raw(s.port).send(post(name, GOOD)).answer()[0], 200, "a small append meanwhile")
        # All send the rest at once, the last first: whoever is let through must be one whose rest can come.
        threads = [threading.Thread(target=lambda r=raw, b=rest: r.send(b)) for raw, rest in reversed(links)]
        for thread in threads:
            thread.start()
        for raw, _ in links:
            same(raw.answer()[0], 200, "answer")
        for thread in threads:
            thread.join()
        same(s.call("GET", name).json["head_seq"], 41, "head")
    finally:
        s.close()


@case
def who_holds_the_budget_and_does_not_move_gives_it_back(_):
    s = budgeted(TOPICS_IDLE_TIMEOUT_MS=600000)
    try:
        name = fresh()
        s.call("PUT", name, {})
        body = large_body(1)
        head = request("POST", name, [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        stuck = [patient(s.port).send(head, body[:300000]) for _ in range(4)]
        honest = patient(s.port).send(head)
        thread = threading.Thread(target=lambda: honest.send(body))
        thread.start()
        same(honest.answer()[0], 200, "an honest one behind those that are stuck")
        thread.join()
        until(lambda: any(answered(raw) for raw in stuck), what="the end of some of those that were stuck")
        for raw in stuck:
            if answered(raw):
                same(raw.answer()[0], 408, "what they are told")
    finally:
        s.close()


@case
def a_reader_that_takes_nothing_of_what_fills_the_budget_is_given_up(_):
    s = budgeted(TOPICS_IDLE_TIMEOUT_MS=600000, TOPICS_WORKER_BUDGET_BYTES=2 * MIB, TOPICS_MAX_RECORD_BYTES=16 * MIB)
    try:
        same(s.call("POST", "/v0/topics/a", {"records": [{"data": "x" * (12 * MIB)}]}).status, 201, "append")
        until(lambda: not connections(s), what="the end of the first connections")
        stuck = unread(s, post("/v0/topics/a/diff", "{}"))
        until(lambda: connections(s) == 1, what="the connection")
        until(lambda: not connections(s), what="its end")
        same(s.call("POST", "/v0/topics/b", {"records": [{"data": 1}]}).status, 201, "append afterwards")
        stuck.close()
    finally:
        s.close()


@case
def answers_that_nobody_reads_leave_room_for_others(_):
    s = budgeted(TOPICS_IDLE_TIMEOUT_MS=600000, TOPICS_WORKER_BUDGET_BYTES=24 * MIB)
    try:
        name, ask = large_topic(s)
        before = resident(s)
        stuck = [unread(s, ask) for _ in range(30)]
        for _ in range(20):
            same(s.call("GET", "/v0/ready").status, 200, "a small request meanwhile")
        status, _, body = patient(s.port).send(ask).answer()
        page = json.loads(body)
        truth(status == 200 and page["records"] and page["next_from_seq"] == page["records"][-1]["$seq"], "a page, if a small one, for the reader behind them")
        truth(resident(s) - before < 60 * MIB, "%d MiB are held" % ((resident(s) - before) // MIB))
        body = b'{"records":[' + b",".join([b'{"data":"' + b"x" * 900000 + b'"}'] * 22) + b"]}"
        writers = [patient(s.port) for _ in range(2)]
        threads = [threading.Thread(target=lambda r=raw: r.send(post(name, body))) for raw in writers]
        for thread in threads:
            thread.start()
        for raw in writers:
            same(raw.answer()[0], 200, "a body that needs what they hold")
        for thread in threads:
            thread.join()
        for one in stuck:
            one.close()
    finally:
        s.close()


@case
def a_gzip_body_takes_its_turn_too(_):
    import gzip
    s = budgeted()
    try:
        name, links = fresh(), []
        for i in range(20):
            links.append(patient(s.port).send(post(name, gzip.compress(large_body(i)), [("Content-Encoding", "gzip")])))
        same(sorted(raw.answer()[0] for raw in links), [200] * 19 + [201], "answers")
        pieces = [patient(s.port) for _ in range(20)]
        body = gzip.compress(os.urandom(300000).hex().encode(), 1)
        body = gzip.compress(b'{"records":[{"data":"' + os.urandom(200000).hex().encode() + b'"}]}')
        for raw in pieces:
            raw.send(request("POST", name, [("Content-Type", "application/json"), ("Content-Encoding", "gzip"), ("Content-Length", str(len(body)))]), body[:150000])
        for raw in pieces:
            threading.Thread(target=lambda r=raw: r.send(body[150000:]), daemon=True).start()
        same([raw.answer()[0] for raw in pieces], [200] * 20, "answers of those in pieces")
    finally:
        s.close()


if __name__ == "__main__":
    sys.exit(cases.main(lambda: Server(settings={"TOPICS_IDLE_TIMEOUT_MS": LIMIT_MS}).start(), lambda server: server.close()))
