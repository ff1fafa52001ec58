#!/usr/bin/env python3
"""Measures the real server over loopback and prints tables, each row beside a baseline that ran in the same minute.

    bench/run.py [--build DIR] [--seconds S] [--only append,diff,tail] [--quick] [--data DIR]

Baselines (real programs in bench/): E, the worker's own HTTP layer answering the same bytes to the same requests, without rings or logd; F, pwrite + fdatasync on a
zero-filled file; P, E answering a page that was rendered before. A ratio holds where an absolute figure of a noisy machine does not. Nothing here is asserted.
"""

import argparse
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

TICK = os.sysconf("SC_CLK_TCK")
# (class, connections, batch) -> floor, target, moonshot, against
BUDGETS = {
    ("memory", 64, 100): (0.30, 0.48, 0.70, "E"),
    ("disk", 64, 100): (0.27, 0.45, 0.65, "E"),
    ("fsync", 64, 100): (0.24, 0.36, 0.50, "E"),
    ("disk", 64, 1): (0.75, 0.90, 0.97, "E"),
}
LATENCY = {
    ("fsync", 1, 1): (1.35, 1.20, 1.05, "E+F"),
    ("disk", 1, 1): (1.4, 1.15, 1.05, "E"),
}
DIFF = (0.30, 0.50, 0.75, "P")
CPU_PER_EVENT = (0.30, 0.20, 0.15)  # microseconds, append 100, disk
TAIL = (20, 10, 5)  # p999 / p50 at half load
TAIL_RUNS = 5  # times as long as another run, so that files roll and seal meanwhile


class Process:
    """A server of ours; knows its whole family's CPU time and memory."""

    def __init__(self, command, env=None, port_file=None, log=None):
        self.log = open(log, "wb")
        self.process = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        deadline = time.monotonic() + 20
        while not os.path.exists(port_file):
            if self.process.poll() is not None or time.monotonic() > deadline:
                sys.exit("bench: %s did not start; see %s" % (command[0], log))
            time.sleep(0.02)
        with open(port_file) as f:
            self.port = int(f.read().strip().rpartition(":")[2])

    def family(self):
        pids = [self.process.pid]
        for pid in pids:
            try:
                with open("/proc/%d/task/%d/children" % (pid, pid)) as f:
                    pids += [int(p) for p in f.read().split()]
            except OSError:
                pass
        return pids

    def cpu_seconds(self):
        total = 0
        for pid in self.family():
            try:
                with open("/proc/%d/stat" % pid) as f:
                    fields = f.read().rpartition(")")[2].split()
                total += int(fields[11]) + int(fields[12])
            except OSError:
                pass
        return total / TICK

    def anonymous_mib(self):
        total = 0
        for pid in self.family():
            try:
                with open("/proc/%d/smaps_rollup" % pid) as f:
                    total += sum(int(line.split()[1]) for line in f if line.startswith("Anonymous:"))
            except OSError:
                pass
        return total / 1024

    def stop(self):
        if self.log.closed:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.log.close()


class Bench:
    def __init__(self, args):
        self.args = args
        self.root = tempfile.mkdtemp(prefix="topics-bench-", dir=args.data)
        self.load = os.path.join(args.build, "bench/load")
        self.names = self.starts = 0
        self.processes = []

    def started(self, *words):
        self.processes.append(Process(*words))
        return self.processes[-1]

    def close(self):
        for process in self.processes:
            process.stop()
        shutil.rmtree(self.root, ignore_errors=True)

    def path(self, name):
        return os.path.join(self.root, name)

    def server(self):
        self.names += 1
        return self.server_on(self.path("data%d" % self.names))

    def server_on(self, data):
        """A server on a directory that may be there already."""
        env = {k: v for k, v in os.environ.items() if not k.startswith("TOPICS_")}
        self.starts += 1
        port_file = self.path("server-port%d" % self.starts)
        env.update(TOPICS_PORT="0", TOPICS_PORT_FILE=port_file, TOPICS_DATA_DIR=data)
        return self.started([os.path.join(self.args.build, "supervisor/topicsd")], env, port_file, self.path("server-log%d" % self.starts))

    def baseline(self, answer):
        """E and P: answers `answer` to everything."""
        self.names += 1
        body, port_file = self.path("answer%d" % self.names), self.path("port%d" % self.names)
        with open(body, "wb") as f:
            f.write(answer)
        return self.started([os.path.join(self.args.build, "bench/answer"), body, port_file], None, port_file, self.path("log%d" % self.names))

    def command(self, server, seconds, options):
        command = [self.load, "--port", str(server.port), "--seconds", str(seconds)]
        for name, value in options.items():
            command += ["--" + name.replace("_", "-")] + ([] if value is True else [str(value)])
        return command

    def drive(self, server, seconds=None, **options):
        command = self.command(server, seconds or self.args.seconds, options)
        before = server.cpu_seconds()
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120)
        if done.returncode not in (0, 1) or not done.stdout:
            sys.exit("bench: %s: %s" % (" ".join(command), done.stderr.decode()))
        result = json.loads(done.stdout)
        if result["refused"]:
            print("    " + done.stderr.decode().strip(), file=sys.stderr)
        result["cpu"] = max(server.cpu_seconds() - before, 1 / TICK)
        return result

    def drive_all(self, server, **options):
        """As drive, until all requests have been answered."""
        done = subprocess.run(self.command(server, 100000, options), stdout=subprocess.PIPE, check=True)
        return json.loads(done.stdout)

    def status(self, server, path):
        link = http.client.HTTPConnection("127.0.0.1", server.port)
        try:
            link.request("GET", path)
            answer = link.getresponse()
            answer.read()
            return answer.status
        finally:
            link.close()

    def call(self, server, method, path, document):
        link = http.client.HTTPConnection("127.0.0.1", server.port)
        link.request(method, path, json.dumps(document), {"Content-Type": "application/json"})
        answer = link.getresponse()
        body = answer.read()
        link.close()
        if answer.status >= 300:
            sys.exit("bench: %s %s: %d %s" % (method, path, answer.status, body[:300]))
        return body

    def sync_baseline(self, size):
        done = subprocess.run([os.path.join(self.args.build, "bench/sync_baseline"), self.path("sync"), str(size), "1"],
                              stdout=subprocess.PIPE, check=True)
        return json.loads(done.stdout)

    # ---- tables ----
    def append(self):
        print("\nAppend: records of 100 B, distinct bodies; client included\n")
        head("class", "conns", "batch", "topics", "records/s", "rec/CPU s", "p50 us", "p99 us", "p999 us", "anon MiB")
        combos = [(c, n, b, t) for b in (100, 1) for c in ("ephemeral", "memory", "disk", "fsync") for n in (1, 64) for t in (1, 16)]
        if self.args.quick:
            combos = [c for c in combos if c[3] == 1 and (c[0], c[1], c[2]) in {**BUDGETS, **LATENCY}]
        for cls, connections, batch, topics in combos:
            server = self.server()
            prefix = "bench-"
            for i in range(topics):
                self.call(server, "PUT", "/v0/topics/%s%d" % (prefix, i), {"durability": cls})
            example = {"records": [{"data": {"sku": "%08X" % i, "note": "x" * 60}} for i in range(batch)]}
            answer = self.call(server, "POST", "/v0/topics/%s0" % prefix, example)
            options = dict(mode="append", connections=connections, batch=batch, topics=topics)
            ours = self.drive(server, **options)
            memory = server.anonymous_mib()
            server.stop()
            echo = self.baseline(answer)
            base = self.drive(echo, **options)
            echo.stop()
            row(cls, connections, batch, topics, "%.0f" % ours["records_per_s"], "%.0f" % (ours["records_per_s"] * ours["seconds"] / ours["cpu"]),
                ours["p50_us"], ours["p99_us"], ours["p999_us"], "%.0f" % memory, verdict("rate", ours["requests_per_s"] / base["requests_per_s"],
                BUDGETS.get((cls, connections, batch)), "E"))
            if (cls, connections, batch) in LATENCY:
                under, against = base["p50_us"], "E"
                if cls == "fsync":
                    under, against = under + self.sync_baseline(4096)["p50_us"], "E+F"
                print("    " + verdict("p50", ours["p50_us"] / under, LATENCY[cls, connections, batch], against, below=True))
            if (cls, connections, batch) == ("disk", 64, 100):
                ours_us, base_us = (run["cpu"] / run["seconds"] / run["records_per_s"] * 1e6 for run in (ours, base))
                print("    " + verdict("server CPU us/event", ours_us, CPU_PER_EVENT + ("",), "", below=True) + "; E %.3f" % base_us)
            shutil.rmtree(self.path("data%d" % (self.names - 1)), ignore_errors=True)

    def diff(self):
        print("\nDiff: records of 100 B\n")
        head("limit", "conns", "", "", "records/s", "rec/CPU s", "p50 us", "p99 us", "p999 us", "anon MiB")
        server = self.server()
        self.call(server, "PUT", "/v0/topics/bench-0", {"durability": "memory"})
        filled = 400000
        self.drive(server, mode="append", connections=4, batch=100, requests=filled // 100)
        state = json.loads(self.call(server, "POST", "/v0/topics/bench-0/diff", {"limit": 1}))
        top = state["head_seq"]
        for limit, connections in ((1000, 1), (1000, 64), (100, 1), (100, 64), (0, 1), (0, 64)):
            options = dict(mode="diff", connections=connections, limit=limit)
            options.update({"head": top} if limit else {"from": top, "limit": 1})
            answer = self.call(server, "POST", "/v0/topics/bench-0/diff", {"from_seq": 1 if limit else top, "limit": limit or 1})
            ours = self.drive(server, **options)
            memory = server.anonymous_mib()
            ready = self.baseline(answer)
            base = self.drive(ready, **options)
            ready.stop()
            row(limit or "caught up", connections, "", "", "%.0f" % (ours["records_per_s"] if limit else ours["requests_per_s"]),
                "%.0f" % (ours["records_per_s"] * ours["seconds"] / ours["cpu"]), ours["p50_us"], ours["p99_us"], ours["p999_us"], "%.0f" % memory,
                verdict("rate", ours["requests_per_s"] / base["requests_per_s"], DIFF if limit == 1000 else None, "P"))
        server.stop()


    def tail(self):
        """Acks at half of what the server can do, while files roll, seal and are prepared; a request's time counts from when it was due."""
        print("\nTail: acks of `disk` at half load\n")
        head("batch", "conns", "", "", "requests/s", "MiB", "p50 us", "p99 us", "p999 us", "sealed")
        for batch in (100, 1):
            server = self.server()
            self.call(server, "PUT", "/v0/topics/bench-0", {"durability": "disk"})
            answer = self.call(server, "POST", "/v0/topics/bench-0", {"records": [{"data": {"sku": "%08X" % i, "note": "x" * 60}} for i in range(batch)]})
            options = dict(mode="append", connections=64, batch=batch)
            options["rate"] = self.drive(server, **options)["requests_per_s"] / 2
            data = self.path("data%d" % self.names)
            before, sealed = folder_bytes(data), sealed_files(data)
            ours = self.drive(server, TAIL_RUNS * self.args.seconds, **options)
            after = folder_bytes(data) - before, sealed_files(data) - sealed
            server.stop()
            base = self.tail_baseline(answer, after[0], options)
            row(batch, 64, "", "", "%.0f" % ours["requests_per_s"], after[0] >> 20, ours["p50_us"], ours["p99_us"], ours["p999_us"], after[1],
                verdict("p999/p50", ours["p999_us"] / ours["p50_us"], TAIL + ("",), "", below=True))
            for name, run in base:
                print("    %-52s p50 %.1f, p99 %.1f, p999 %.1f, p999/p50 %.1f" % (name, run["p50_us"], run["p99_us"], run["p999_us"], run["p999_us"] / run["p50_us"]))
            shutil.rmtree(data, ignore_errors=True)

    def tail_baseline(self, answer, written, options):
        """E at the same rate: alone, and beside a program that writes and syncs as many bytes as the server did, a mebibyte at a time."""
        seconds = TAIL_RUNS * self.args.seconds
        runs = []
        for rate in (0, written / seconds / (1 << 20)):
            echo = self.baseline(answer)
            writer = rate and subprocess.Popen([os.path.join(self.args.build, "bench/sync_baseline"), self.path("tail"), str(1 << 20), str(seconds + 1), str(rate)],
                                               stdout=subprocess.DEVNULL)
            time.sleep(1 if rate else 0)
            runs.append(("E at the same rate" + (", beside F with as many bytes" if rate else ""), self.drive(echo, seconds, **options)))
            if rate:
                writer.wait()
            echo.stop()
        return runs


def folder_bytes(path):
    return sum(entry.stat().st_size for entry in os.scandir(path))


def sealed_files(path):
    """Files that end with a footer's trailer (docs/format.md, 8)."""
    count = 0
    for entry in os.scandir(path):
        with open(entry.path, "rb") as f:
            f.seek(max(entry.stat().st_size - 64, 0))
            count += f.read(8) == b"TOPICSFT"
    return count


WIDTHS = (10, 6, 6, 7, 11, 11, 9, 9, 9, 9)


def head(*names):
    row(*names, "ratio")


def row(*cells):
    texts = [str(c).rjust(w) for c, w in zip(cells, WIDTHS)]
    print(" ".join(texts) + "  " + str(cells[len(WIDTHS)]) if len(cells) > len(WIDTHS) else " ".join(texts), flush=True)


def verdict(what, value, budget, against, below=False):
    text = "%s/%s %.2f" % (what, against, value) if against else "%s %.3f" % (what, value)
    if budget:
        floor, target, moonshot = budget[:3]
        better = (lambda x: value <= x) if below else (lambda x: value >= x)
        word = "moonshot" if better(moonshot) else "target" if better(target) else "floor" if better(floor) else "BELOW FLOOR"
        text += "  (floor %g, target %g, moonshot %g): %s" % (floor, target, moonshot, word)
    return text


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=os.environ.get("TOPICS_BUILDDIR", "build"), help="build directory")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of each run")
    parser.add_argument("--only", default="append,diff,tail")
    parser.add_argument("--quick", action="store_true", help="only the rows that have a budget")
    parser.add_argument("--data", help="where data directories are made (default: the system's temporary folder)")
    args = parser.parse_args()
    args.build = os.path.abspath(args.build)
    bench = Bench(args)
    try:
        with open("/proc/loadavg") as f:
            print("cores %d, load before the start %s" % (os.cpu_count(), f.read().split()[0]))
        for table in args.only.split(","):
            getattr(bench, table)()
    finally:
        bench.close()


if __name__ == "__main__":
    main()
