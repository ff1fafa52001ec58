#!/usr/bin/env python3
"""The whole gate: builds every kind of build, runs every test, adds up.

    gate.py --source DIR --build DIR [--acceptance DIR] [--only PHASE[,PHASE]] [--list]

A phase is a build with its tests. Each prints a line when it begins and ends; a failed one prints the end of its output. Closes with
`N passed, N failed, N skipped` over all; the exit status is 0 only if nothing failed.
"""

import argparse
import os
import re
import subprocess
import sys
import time

CMOCKA_PASSED = re.compile(r"^\[  PASSED  \] (\d+) test", re.M)
CMOCKA_FAILED = re.compile(r"^\[  FAILED  \] .*?(\d+) test\(s\)", re.M)
PLAIN = re.compile(r"^(?:\w+: )?(\d+) passed, (\d+) failed(?:, (\d+) skipped)?\s*$", re.M)

FUZZ_SECONDS = 60  # for all targets together

BUILDS = {
    "plain": [],
    "failpoints": ["--enable-failpoints"],
    "asan": ["--enable-asan", "--enable-ubsan", "--enable-failpoints", "--enable-fuzz"],
    "tsan": ["--enable-tsan"],
}

# Of each process something, and one that reads files of the distribution.
DIST_TESTS = "tests/test_crc32c tests/test_golden tests/test_options tests/test_http tests/test_ops_system tests/blackbox/test_command_line.py"


class Gate:
    def __init__(self, args):
        self.args = args
        self.passed = self.failed = self.skipped = 0
        self.figures = []

    def build_dir(self, kind):
        return self.args.build if kind == "plain" else self.args.build + "-" + kind

    def run(self, title, command, cwd=None, env=None, counts=True, timeout=2400):
        """Runs one command to its end; adds up what its output counts."""
        began = time.monotonic()
        print("--- %s ..." % title, flush=True)
        whole = dict(os.environ, PYTHONDONTWRITEBYTECODE="1", **(env or {}))
        try:
            done = subprocess.run(command, cwd=cwd, env=whole, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, timeout=timeout)
            text, status = done.stdout.decode("utf-8", "replace"), done.returncode
        except subprocess.TimeoutExpired as late:
            text, status = (late.stdout or b"").decode("utf-8", "replace") + "\n(timed out)", 124
        passed = failed = skipped = 0
        if counts:
            passed = sum(int(n) for n in CMOCKA_PASSED.findall(text))
            failed = sum(int(n) for n in CMOCKA_FAILED.findall(text))
            for p, f, s in PLAIN.findall(text):
                passed, failed, skipped = passed + int(p), failed + int(f), skipped + int(s or 0)
            if status == 0 and failed == 0 and passed == 0 and skipped == 0:
                passed = 1  # a program whose exit status is its verdict
        if status != 0 and failed == 0:
            failed = 1
        self.passed += passed
        self.failed += failed
        self.skipped += skipped
        self.figures += [line for line in text.splitlines() if line.startswith("figures: ")]
        print("    %s: %d passed, %d failed, %d skipped in %.0f s" % (title, passed, failed, skipped, time.monotonic() - began), flush=True)
        if failed:
            print("\n".join("    | " + line for line in text.splitlines()[-60:]), flush=True)
        return status == 0

    def build(self, kind, target):
        directory = self.build_dir(kind)
        os.makedirs(directory, exist_ok=True)
        makefile, configure = os.path.join(directory, "Makefile"), os.path.join(self.args.source, "configure")
        if not os.path.exists(makefile) or os.path.getmtime(makefile) < os.path.getmtime(configure):
            if not self.run("configure " + kind, [configure, "--quiet"] + BUILDS[kind], cwd=directory, counts=False):
                return False
        jobs = "-j%d" % max(2, os.cpu_count() or 2)
        # One goal after the other: `all` makes itself anew below, and two makes at once would build the same objects.
        return all(self.run("build %s %s" % (kind, goal), ["make", "--no-print-directory", jobs, goal], cwd=directory, counts=False) for goal in target)

    def environment(self, kind):
        directory = self.build_dir(kind)
        found = {"TOPICSD": os.path.join(directory, "supervisor", "topicsd"), "TOPICS_BUILDDIR": directory, "TOPICS_SRCDIR": self.args.source}
        if kind == "asan":
            found["TOPICS_KILLS"] = "24"  # each kind of kill twice and more; the many are the plain build's
        return found

    def listed(self, kind, variable):
        """What a variable of the Makefile holds: the one list of tests is in tests/tests.am."""
        out = subprocess.run(["make", "--no-print-directory", "-s", "print-" + variable], cwd=self.build_dir(kind),
                             stdout=subprocess.PIPE, check=True)
        return out.stdout.decode().split()

    def units(self, kind, variable="unit_tests"):
        for program in self.listed(kind, variable):
            self.run("%s %s" % (kind, os.path.basename(program)), [os.path.join(self.build_dir(kind), program)],
                     cwd=self.build_dir(kind), env=self.environment(kind), timeout=900)

    def scripts(self, kind, variable="python_tests"):
        for script in self.listed(kind, variable):
            self.run("%s %s" % (kind, os.path.basename(script)), [sys.executable, os.path.join(self.args.source, script)],
                     cwd=self.build_dir(kind), env=self.environment(kind), timeout=2000)

    # ---- phases ----
    def phase_plain(self):
        if self.build("plain", ["all", "check_programs"]):
            self.units("plain")
            self.scripts("plain")

    def phase_failpoints(self):
        if self.build("failpoints", ["all", "check_programs"]):
            self.scripts("failpoints", "failpoint_tests")

    def phase_asan(self):
        if self.build("asan", ["all", "check_programs"]):
            self.units("asan")
            self.units("asan", "hostile_tests")
            self.scripts("asan", "asan_tests")

    def phase_fuzz(self):
        """Every target for its share of a minute; `make campaign` goes on from there."""
        if self.build("asan", ["all", "check_programs"]):
            targets = [p for p in self.listed("asan", "check_PROGRAMS") if p.startswith("tests/fuzz/")]
            for target in targets:
                self.run(os.path.basename(target), [os.path.join(self.build_dir("asan"), target), "--seconds", str(FUZZ_SECONDS // len(targets))],
                         cwd=self.build_dir("asan"), timeout=600)

    def phase_tsan(self):
        if self.build("tsan", ["check_programs"]):
            self.units("tsan", "stress_tests")
            self.units("tsan", "threaded_tests")

    def phase_simulate(self):
        if self.build("plain", ["check_programs"]):
            self.scripts("plain", "simulation_tests")

    def phase_dist(self):
        """The tarball builds out of a read-only tree, installs, passes and cleans up after itself; all tests of it ran above from the tree itself."""
        if self.build("plain", ["all"]):
            self.run("make distcheck", ["make", "--no-print-directory", "-j%d" % max(2, os.cpu_count() or 2), "distcheck", "TESTS=" + DIST_TESTS],
                     cwd=self.build_dir("plain"), env={"DISTCHECK_CONFIGURE_FLAGS": "CFLAGS=-O0"})

    def phase_seeded(self):
        self.run("seeded bugs are caught", [sys.executable, os.path.join(self.args.source, "tests/seeded/run.py"), "--source",
                                            self.args.source], timeout=1800)

    def phase_acceptance(self):
        if not self.args.acceptance:
            return
        sample = self.args.acceptance
        with open(os.path.join(sample, "spine.txt")) as names:
            ids = ",".join(names.read().split())
        topicsd = self.environment("plain")["TOPICSD"]
        self.run("acceptance launched", [sys.executable, "launched.py", "--launch", topicsd, "--only", ids], cwd=sample)
        self.run("acceptance conformance", [sys.executable, os.path.join(self.args.source, "tests/with_server.py"), topicsd,
                                            sys.executable, "conformance.py", "@URL@", "--only", ids], cwd=sample)

    PHASES = ["plain", "simulate", "failpoints", "asan", "fuzz", "tsan", "dist", "seeded", "acceptance"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", required=True)
    parser.add_argument("--build", required=True)
    parser.add_argument("--acceptance", help="folder of the acceptance sample")
    parser.add_argument("--only", default="", help="phases, comma separated")
    parser.add_argument("--list", action="store_true", help="list the phases")
    args = parser.parse_args()
    if args.list:
        print("\n".join(Gate.PHASES))
        return 0
    gate = Gate(args)
    began = time.monotonic()
    wanted = [p for p in args.only.split(",") if p] or Gate.PHASES
    for phase in wanted:
        getattr(gate, "phase_" + phase)()
    for line in gate.figures:
        print(line)
    print("the gate took %.1f minutes" % ((time.monotonic() - began) / 60))
    print("%d passed, %d failed, %d skipped" % (gate.passed, gate.failed, gate.skipped))
    return 1 if gate.failed else 0


if __name__ == "__main__":
    sys.exit(main())
