#!/usr/bin/env python3
"""Looks for what the gate's bounded runs have not found: fuzz targets, crash states and kills with ever new seeds.

    campaign.py --source DIR --build DIR [--rounds N] [--minutes-each M]

Makes two builds beside DIR (sanitized with the fuzz targets, and plain), then goes round: every fuzz target, the crash-state enumerator, kills of real processes, each for some minutes.
Stops at the first failure and prints how to see it again; or when it is interrupted; or after N rounds.
"""

import argparse
import glob
import os
import random
import subprocess
import sys
import time

BUILDS = {"campaign": ["--enable-asan", "--enable-ubsan", "--enable-failpoints", "--enable-fuzz"], "campaign-plain": ["--enable-failpoints"]}
STATES_PER_MINUTE = 30000
KILLS_PER_MINUTE = 60


def build(args, kind):
    directory = args.build + "-" + kind
    os.makedirs(directory, exist_ok=True)
    if not os.path.exists(os.path.join(directory, "Makefile")):
        subprocess.run([os.path.join(args.source, "configure"), "--quiet"] + BUILDS[kind], cwd=directory, check=True, stdin=subprocess.DEVNULL)
    for goal in ("all", "check_programs"):
        subprocess.run(["make", "--no-print-directory", "-s", "-j%d" % (os.cpu_count() or 2), goal], cwd=directory, check=True, stdin=subprocess.DEVNULL)
    return directory


def commands(args, fuzz, plain, seed):
    """(name, command, environment) of one round."""
    env = {"TOPICSD": os.path.join(plain, "supervisor", "topicsd"), "TOPICS_BUILDDIR": plain, "TOPICS_SRCDIR": args.source, "PYTHONDONTWRITEBYTECODE": "1"}
    for source in sorted(glob.glob(os.path.join(args.source, "tests", "fuzz", "fuzz_*.c"))):
        name = os.path.basename(source)[:-2]
        yield name, [os.path.join(fuzz, "tests", "fuzz", name), "--seconds", str(args.minutes_each * 60), "--seed", str(seed)], {}
    yield "crash states", [os.path.join(plain, "tests", "simulate"), "--states", str(args.minutes_each * STATES_PER_MINUTE), "--seed", str(seed)], env
    kills = [sys.executable, os.path.join(args.source, "tests", "kills", "kills.py"), "--seed", str(seed)]
    yield "kills", kills + ["--kills", str(args.minutes_each * KILLS_PER_MINUTE)], env
    yield "kills at failpoints", kills + ["--failpoints", "--kills", str(args.minutes_each * KILLS_PER_MINUTE)], env


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", required=True)
    parser.add_argument("--build", required=True)
    parser.add_argument("--rounds", type=int, default=0, help="0: until interrupted")
    parser.add_argument("--minutes-each", type=int, default=5)
    args = parser.parse_args()
    fuzz, plain = build(args, "campaign"), build(args, "campaign-plain")
    began, done = time.monotonic(), 0
    while args.rounds == 0 or done < args.rounds:
        seed = random.SystemRandom().randrange(1, 1 << 31)
        for name, command, env in commands(args, fuzz, plain, seed):
            result = subprocess.run(command, env=dict(os.environ, **env), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            text = result.stdout.decode("utf-8", "replace").rstrip().splitlines()
            print("%6.0f s  %-20s %s" % (time.monotonic() - began, name, text[-1] if text else ""), flush=True)
            if result.returncode != 0:
                print("\n".join("    | " + line for line in text[-60:]))
                print("again: " + " ".join(command))
                return 1
        done += 1
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
