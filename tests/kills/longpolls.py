#!/usr/bin/env python3
"""Long polls against writers, real processes: after every burst of appends each poller must come to the head of its topic, though nothing more is written that could wake it again.
A lost wake-up is a poller that still waits although its record is there. (A worker
looks at the feed every 250 ms in any case; that it need not is shown by tests/blackbox/test_longpoll.py.) Meanwhile logd and workers are killed.

    longpolls.py [rounds] [seed]"""

import json
import os
import random
import selectors
import signal
import socket
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.server import Server, until  # noqa: E402

TOPICS, POLLERS, WRITERS, WAIT_MS, PROMPT = 6, 60, 4, 30000, 12.0


class Poller:
    def __init__(self, crowd, topic):
        self.crowd, self.topic, self.cursor, self.link, self.got, self.polls, self.again = crowd, topic, 0, None, b"", 0, 0
        self.connect()

    def connect(self):
        if self.link is not None:
            self.crowd.selector.unregister(self.link)
            self.link.close()
            self.again += 1
        self.got = b""
        self.link = socket.create_connection(("127.0.0.1", self.crowd.server.port), 10)
        self.crowd.selector.register(self.link, selectors.EVENT_READ, self)
        self.ask()

    def ask(self):
        body = json.dumps({"from_seq": self.cursor, "wait_ms": WAIT_MS, "limit": 1000}).encode()
        head = "POST /v0/topics/%s/diff HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (self.topic, len(body))
        self.polls += 1
        try:
            self.link.sendall(head.encode() + body)
        except OSError:
            pass  # the reading end says it too

    def readable(self):
        try:
            part = self.link.recv(1 << 16)
        except OSError:
            part = b""
        if part == b"":
            self.connect()
            return
        self.got += part
        head, end, rest = self.got.partition(b"\r\n\r\n")
        if end == b"":
            return
        length = int([line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")][0].split(b":")[1])
        if len(rest) < length:
            return
        self.got = rest[length:]
        self.answered(int(head.split()[1]), json.loads(rest[:length]))

    def answered(self, status, page):
        if status == 503:  # the log process was away for long: asked again
            self.ask()
            return
        if status != 200 or page["tombstone"] is not None:
            raise AssertionError("answer %d %r" % (status, page))
        seqs = [record["$seq"] for record in page["records"]]
        if seqs != list(range(self.cursor + 1, self.cursor + 1 + len(seqs))) or any(r["data"] != r["$seq"] for r in page["records"] if r["data"] is not None):
            raise AssertionError("after %d came %r" % (self.cursor, seqs))
        if page["next_from_seq"] != self.cursor + len(seqs):
            raise AssertionError("cursor %r after %d and %d records" % (page["next_from_seq"], self.cursor, len(seqs)))
        self.cursor = page["next_from_seq"]
        self.ask()


class Crowd:
    def __init__(self, server, seed):
        self.server, self.random, self.selector = server, random.Random(seed), selectors.DefaultSelector()
        self.topics = ["poll-%d" % i for i in range(TOPICS)]
        for i, topic in enumerate(self.topics):
            server.call("PUT", "/v0/topics/" + topic, {"durability": ["memory", "disk", "fsync", "ephemeral"][i % 4]})
        self.heads = dict.fromkeys(self.topics, 0)
        self.pollers = [Poller(self, self.topics[i % TOPICS]) for i in range(POLLERS)]
        self.lost = 0

    def write(self, topic, count):
        """Appends until it is acked; the key makes a repeat harmless."""
        for _ in range(count):
            key = "%s-%d" % (topic, self.heads[topic] + 1)
            while True:
                try:
                    answer = self.server.call("POST", "/v0/topics/" + topic, {"records": [{"data": self.heads[topic] + 1}], "idempotency_key": key})
                except OSError:
                    continue
                except Exception as problem:  # http.client on a connection that broke in the middle of an answer
                    if "http" not in type(problem).__module__:
                        raise
                    continue
                if answer.status in (200, 201):
                    break
                if answer.status != 503:
                    raise AssertionError("append %r" % answer)
            self.heads[topic] = answer.json["last_seq"]

    def round(self):
        """A burst, each topic by one writer; then all pollers come to the heads. Those that do not are counted, and asked anew."""
        chosen = self.random.sample(self.topics, WRITERS)
        writers = [threading.Thread(target=self.write, args=(topic, self.random.randint(1, 4)), daemon=True) for topic in chosen]
        for writer in writers:
            writer.start()
        deadline = None
        while True:
            for key, _ in self.selector.select(0.01):
                key.data.readable()
            if any(writer.is_alive() for writer in writers):
                continue
            deadline = deadline or time.monotonic() + PROMPT
            behind = [p for p in self.pollers if p.cursor < self.heads[p.topic]]
            if not behind:
                return
            if time.monotonic() > deadline:
                self.lost += len(behind)
                for poller in behind:
                    print("a poller of %s waits at %d, the head is %d" % (poller.topic, poller.cursor, self.heads[poller.topic]))
                    poller.connect()
                deadline = None


def kill(server, kind, crowd):
    if kind == "logd":
        victim = server.logd()
        os.kill(victim, signal.SIGKILL)
        return
    workers = server.workers()
    if workers:
        os.kill(crowd.random.choice(workers), signal.SIGKILL)


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 150
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.SystemRandom().randrange(1 << 32)
    server = Server().start()
    kills = 0
    try:
        crowd = Crowd(server, seed)
        for number in range(rounds):
            if number % 25 == 12:
                # In the middle of the burst, of another thread.
                kind = "logd" if number % 50 == 12 else "worker"
                threading.Timer(crowd.random.random() * 0.05, kill, (server, kind, crowd)).start()
                kills += 1
            crowd.round()
        until(lambda: len(server.workers()) >= 2 and server.pids("topics-logd"), what="the processes to be back")
        polls = sum(p.polls for p in crowd.pollers)
        records = sum(p.cursor for p in crowd.pollers)
        print("%d bursts, %d kills, %d pollers, %d polls, %d records seen, %d lost wake-ups" % (rounds, kills, POLLERS, polls, records, crowd.lost))
        if crowd.lost:
            print("again with: python3 %s %d %d" % (sys.argv[0], rounds, seed))
        return 1 if crowd.lost else 0
    finally:
        server.close()


if __name__ == "__main__":
    sys.exit(main())
