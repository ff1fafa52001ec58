#!/usr/bin/env python3
"""Measures how long a start takes after kill -9 of everything, and prints a table.

    bench/recovery.py [--build DIR] [--data DIR] [--only wal,data,topics] [--records M,M,...] [--bytes N] [--starts N]

wal: a million records in one file that is not sealed, so every frame is read. data: millions of records in files of the usual size, nearly all of them sealed. topics: a hundred
thousand topics. `ready` is the time from exec of the daemon until GET /v0/ready answers 200, the least of a few starts; `empty` the same for an empty directory, next to it; `logd CPU`: what its loop had used by then, which does not depend on what else runs. The page
cache is warm, as after a death of processes. Nothing here is asserted.
"""

import argparse
import http.client
import json
import os
import re
import signal
import shutil
import subprocess
import sys
import tempfile
import time

FLOOR, TARGET, MOONSHOT = 0.3, 0.15, 0.08  # seconds, 1 M records of WAL


class Server:
    def __init__(self, args, data, **settings):
        self.args, self.data, self.settings = args, data, settings
        self.starts = 0
        self.process = None
        self.cpu = 1e9  # least CPU seconds of logd's loop up to ready

    def start(self):
        """Seconds from exec to ready."""
        self.starts += 1
        port_file = "%s.port%d" % (self.data, self.starts)
        env = {k: v for k, v in os.environ.items() if not k.startswith("TOPICS_")}
        env.update(TOPICS_PORT="0", TOPICS_PORT_FILE=port_file, TOPICS_DATA_DIR=self.data, **{k: str(v) for k, v in self.settings.items()})
        self.log = open(self.data + ".log", "ab")
        began = time.perf_counter()
        self.process = subprocess.Popen([os.path.join(self.args.build, "supervisor/topicsd")], env=env, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
                                        start_new_session=True)
        while not os.path.exists(port_file):
            if self.process.poll() is not None:
                sys.exit("recovery: the server did not start; see %s.log" % self.data)
            time.sleep(0.002)
        with open(port_file) as f:
            self.port = int(f.read().strip().rpartition(":")[2])
        link = None
        while True:
            try:
                link = link or http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
                link.request("GET", "/v0/ready")
                answer = link.getresponse()
                answer.read()
                if answer.status == 200:
                    took = time.perf_counter() - began
                    self.cpu = min(self.cpu, self.logd_cpu())
                    return took
            except (OSError, http.client.HTTPException):
                link = None
            time.sleep(0.003)

    def logd_cpu(self):
        with open("/proc/%d/task/%d/children" % (self.process.pid, self.process.pid)) as f:
            for pid in f.read().split():
                with open("/proc/%s/comm" % pid) as comm:
                    if not comm.read().startswith("topics-logd"):
                        continue
                with open("/proc/%s/task/%s/schedstat" % (pid, pid)) as stat:
                    return int(stat.read().split()[0]) / 1e9
        return 1e9

    def kill(self):
        if self.process is None:
            return
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process = None
        self.log.close()

    def load(self, **options):
        command = [os.path.join(self.args.build, "bench/load"), "--port", str(self.port), "--seconds", "3600", "--mode", "append"]
        for name, value in options.items():
            command += ["--" + name, str(value)]
        return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)

    def call(self, method, target, body=None):
        """Seconds, and the answer's bytes."""
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        began = time.perf_counter()
        link.request(method, target, body=body, headers={"Content-Type": "application/json"} if body else {})
        answer = link.getresponse()
        text = answer.read()
        took = time.perf_counter() - began
        link.close()
        if answer.status >= 300:
            sys.exit("recovery: %s %s: %d %s" % (method, target, answer.status, text[:200]))
        return took, text

    def said(self):
        """What logd wrote of its last recovery."""
        with open(self.data + ".log", errors="replace") as f:
            said = f.read()
        files, took = re.findall(r"recovered ([^;]*) after .*it took (\d+) ms", said)[-1], [int(n) for n in re.findall(r"it took (\d+) ms", said)]
        return "%s; its own account of the last starts: %s ms" % (files[0], ", ".join(str(n) for n in took[-self.args.starts:]))

    def size_mib(self):
        return sum(os.path.getsize(os.path.join(self.data, n)) for n in os.listdir(self.data)) >> 20


def best_start(server, starts):
    best = None
    for _ in range(starts):
        took = server.start()
        best = took if best is None or took < best else best
        server.kill()
    return best


class Bench:
    def __init__(self, args):
        self.args = args
        self.root = tempfile.mkdtemp(prefix="topics-recovery-", dir=args.data)
        self.servers = []

    def fresh(self, **settings):
        self.servers.append(Server(self.args, os.path.join(self.root, "data%d" % (len(self.servers) + 1)), **settings))
        return self.servers[-1]

    def empty(self):
        return best_start(self.fresh(), self.args.starts)

    def drop(self, server):
        shutil.rmtree(server.data, ignore_errors=True)

    def row(self, what, server):
        size, server.cpu = server.size_mib(), 1e9
        ready, empty = best_start(server, self.args.starts), self.empty()
        print("%-32s %7d %9.3f %9.3f %9.3f %9.3f   %s" % (what, size, ready, empty, ready - empty, server.cpu, server.said()), flush=True)

    def wal(self):
        for batch in (100, 1000, 10):
            server = self.fresh(TOPICS_SEGMENT_MAX_BYTES=192 << 20)
            server.start()
            server.load(connections=16, topics=16, batch=batch, bytes=self.args.bytes, requests=1000000 // batch)
            server.kill()
            self.row("1 M of WAL, batches of %d" % batch, server)
            self.drop(server)

    def data(self):
        server, there = self.fresh(), 0
        for millions in self.args.records:
            server.start()
            server.load(connections=16, topics=16, batch=1000, bytes=self.args.bytes, requests=(millions - there) * 1000)
            time.sleep(1)  # what was left is sealed meanwhile, as in any server that has lived a second longer
            server.kill()
            there = millions
            self.row("%d M in files, batches of 1000" % millions, server)
        self.drop(server)

    def topics(self):
        server, count = self.fresh(), 100000
        server.start()
        made = server.load(connections=64, topics=count, batch=1, bytes=self.args.bytes, requests=count)
        server.kill()
        self.row("%d topics" % count, server)
        server.start()
        listing, text = server.call("GET", "/v0/topics?limit=1000")
        first, _ = server.call("POST", "/v0/topics/bench-77777", body='{"records":[{"data":1}]}')
        again, _ = server.call("POST", "/v0/topics/bench-77777", body='{"records":[{"data":2}]}')
        read, _ = server.call("POST", "/v0/topics/bench-77777/diff", body='{"from_seq":0,"limit":10}')
        print("%34s made at %.0f/s; a page of the list (%d KB) %.1f ms, an append %.2f ms, another %.2f ms, a read %.2f ms" %
              ("", made["requests_per_s"], len(text) >> 10, listing * 1e3, first * 1e3, again * 1e3, read * 1e3))
        server.kill()
        self.drop(server)

    def run(self):
        print("%-32s %7s %9s %9s %9s %9s   (1 M of WAL: floor %.2f, target %.2f, moonshot %.2f)" %
              ("after kill -9", "MiB", "ready s", "empty s", "more s", "logd CPU", FLOOR, TARGET, MOONSHOT))
        for name in ("wal", "data", "topics"):
            if name in self.args.only:
                getattr(self, name)()

    def end(self):
        for server in self.servers:
            server.kill()
        shutil.rmtree(self.root, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build")
    parser.add_argument("--data", default=None, help="a folder on the file system to measure")
    parser.add_argument("--only", default="wal,data,topics")
    parser.add_argument("--records", default="1,10,50", help="millions")
    parser.add_argument("--bytes", type=int, default=100)
    parser.add_argument("--starts", type=int, default=3)
    args = parser.parse_args()
    args.only = args.only.split(",")
    args.records = [int(n) for n in args.records.split(",")]
    bench = Bench(args)
    try:
        bench.run()
    finally:
        bench.end()
    return 0


if __name__ == "__main__":
    sys.exit(main())
