#!/usr/bin/env python3
"""Seeded bugs: each breaks one invariant in a copy of the source, and the named test must fail on it.

    run.py --source DIR [--only NAME]

A bug is a replacement of one piece of text by another, so that a change of the source that makes it meaningless is noticed: the old text must stand there exactly once.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time

SIMULATE = ("tests/simulate", ["--states", "30000"])

BUGS = [
    ("I-1 an answer leaves before its sync", "logd/publish.c",
     "\tif (pending->need > log_synced(engine->disk))\n\t\treturn false;\n", "", SIMULATE),
    ("I-2 half a batch counts", "logd/log_scan.c",
     "frame_whole(scan->bytes + at, &head)", "true", SIMULATE),
    ("I-3 a seq is given again after a loss", "logd/replay.c",
     "\tif (topic->head < loss.to)\n\t\ttopic->head = loss.to;\n", "", SIMULATE),
    ("I-4 a failed sync counts", "logd/log_sync.c",
     "\tif (job->error)\n\t\treturn;\n\tlog->synced", "\tlog->synced", SIMULATE),
    ("I-5 recovery applies half a frame", "logd/replay.c",
     "\t\tat += entry.length;\n\t}\n\tif (!settle)", "\t\tat = end;\n\t}\n\tif (!settle)", SIMULATE),
    ("I-6 what a power cut took is not announced", "logd/recover.c",
     "\tif (possible_end && !r->disk.same_boot && !r->disk.clean && topic->tail_unsynced)", "\tif (false && possible_end)", SIMULATE),
    ("I-9 the ring is read past its end", "common/ring_consumer.c",
     "length <= to_end &&", "", ("tests/test_ring", [])),
]


def run(command, cwd, timeout=600):
    return subprocess.run(command, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", required=True)
    parser.add_argument("--only", default="")
    args = parser.parse_args()
    root = tempfile.mkdtemp(prefix="topics-seeded-")
    tree, build = os.path.join(root, "tree"), os.path.join(root, "build")
    shutil.copytree(args.source, tree, ignore=shutil.ignore_patterns(".git", "build", "build-asan", "build-tsan", "build-failpoints", "topics-data"))
    os.makedirs(build)
    caught = missed = 0
    try:
        bugs = [b for b in BUGS if args.only in b[0]]
        programs = sorted({b[4][0] for b in bugs})
        made = run([os.path.join(tree, "configure"), "--quiet", "CFLAGS=-O1"], build)
        made = made if made.returncode else run(["make", "--no-print-directory", "-j2"] + programs, build)
        if made.returncode:
            print(made.stdout.decode("utf-8", "replace")[-3000:])
            print("0 passed, 1 failed, 0 skipped")
            return 1
        for name, path, old, new, (program, arguments) in bugs:
            file = os.path.join(tree, path)
            with open(file) as f:
                good = f.read()
            if good.count(old) != 1:
                print("FAILED %s: the text to replace stands %d times in %s" % (name, good.count(old), path))
                missed += 1
                continue
            with open(file, "w") as f:
                f.write(good.replace(old, new))
            began = time.monotonic()
            built = run(["make", "--no-print-directory", "-j2", program], build)
            verdict = run([os.path.join(build, program)] + arguments, build) if built.returncode == 0 else built
            with open(file, "w") as f:
                f.write(good)
            if built.returncode != 0 or verdict.returncode == 0:
                print("FAILED %s: %s" % (name, "it does not compile: " + built.stdout.decode()[-500:] if built.returncode else "nothing noticed it"))
                missed += 1
            else:
                print("caught in %.0f s: %s" % (time.monotonic() - began, name), flush=True)
                caught += 1
    finally:
        shutil.rmtree(root, ignore_errors=True)
    print("%d passed, %d failed, 0 skipped" % (caught, missed))
    return 1 if missed or not caught else 0


if __name__ == "__main__":
    sys.exit(main())
