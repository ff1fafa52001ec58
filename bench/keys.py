#!/usr/bin/env python3
"""Idempotency keys in the window, by the million: what they cost, and that repeats are still known.

    bench/keys.py [--build DIR] [--keys 5000000] [--data DIR]

Fills a topic whose window is a day with single records, each under a key of its own; prints rate, the log process' memory, how a start copes, and that the first, middle and last keys are
answered as repeats by files that were sealed long ago.
"""

import argparse
import json
import os
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import run  # noqa: E402


def anonymous_mib(pid):
    with open("/proc/%d/smaps_rollup" % pid) as f:
        return sum(int(line.split()[1]) for line in f if line.startswith("Anonymous:")) / 1024


def logd_of(server):
    for pid in server.family():
        with open("/proc/%d/comm" % pid) as f:
            if f.read().startswith("topics-logd"):
                return pid
    sys.exit("bench: there is no log process")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=os.environ.get("TOPICS_BUILDDIR", "build"))
    parser.add_argument("--keys", type=int, default=5000000)
    parser.add_argument("--data")
    args = parser.parse_args()
    args.build, args.seconds = os.path.abspath(args.build), 1e6
    bench = run.Bench(args)
    try:
        server = bench.server()
        data = bench.path("data%d" % bench.names)
        bench.call(server, "PUT", "/v0/topics/bench-0", {"durability": "disk", "idempotency_window_ms": 86400000})
        print("%10s %12s %14s" % ("keys", "keys/s", "logd anon MiB"))
        # One connection after the other would begin its numbers anew, so all is one run; what it is like meanwhile is asked beside it.
        began = time.monotonic()
        result = bench.drive_all(server, mode="append", connections=64, batch=1, requests=args.keys, keys=True, no_seqs=True)
        print("%10d %12.0f %14.0f" % (result["requests"], result["requests_per_s"], anonymous_mib(logd_of(server))), flush=True)
        time.sleep(2)
        print("after the last file was sealed: %.0f MiB anonymous in the log process, %.1f s in all" % (anonymous_mib(logd_of(server)), time.monotonic() - began))
        server.stop()
        began = time.monotonic()
        server = bench.server_on(data)
        while bench.status(server, "/v0/ready") != 200:
            time.sleep(0.01)
        print("start: ready after %.2f s, %.0f MiB anonymous in the log process" % (time.monotonic() - began, anonymous_mib(logd_of(server))))
        for number in (0, result["requests"] // 2, result["requests"] - 100):
            answer = json.loads(bench.call(server, "POST", "/v0/topics/bench-0", {"records": [{"data": 1}], "idempotency_key": "%016d" % number}))
            print("key %d: first_seq %d, deduped %s, %.2f ms" % (number, answer["first_seq"], answer["deduped"], answer["performance"]["server_total_ms"]))
        server.stop()
    finally:
        bench.close()


if __name__ == "__main__":
    main()
