#!/usr/bin/env python3
"""One in a hundred crash states of the simulator: the independent reader of the format must find on the disk what recovery serves from it."""

import os
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import logreader  # noqa: E402

CLASSES = ("ephemeral", "memory", "disk", "fsync")


def expected(path):
    """name -> (epoch, class, head, [(first, last)], [(from, to, reason, flags)]) of a canonical listing."""
    topics, name = {}, None
    with open(path) as f:
        for line in f:
            head = re.match(r"(\S+) ([0-9a-f]{16}) class (\d) .* head (\d+) count", line)
            run = re.match(r"  (\d+)\.\.(\d+) request", line)
            lost = re.match(r"  lost (\d+)\.\.(\d+) reason (\d+) flags (\d+)", line)
            if head:
                name = head.group(1)
                topics[name] = (int(head.group(2), 16), CLASSES[int(head.group(3))], int(head.group(4)), [], [])
            elif run:
                topics[name][3].append((int(run.group(1)), int(run.group(2))))
            elif lost:
                topics[name][4].append(tuple(int(n) for n in lost.groups()))
    return topics


def compare(folder):
    """What differs, as text; empty when nothing does."""
    image, want = logreader.read(folder), expected(os.path.join(folder, "expected"))
    if set(image.topics) != set(want):
        return "topics %r, not %r" % (sorted(image.topics), sorted(want))
    for id, wrong in image.footers.items():
        if wrong:
            return "the footer of %016x differs from its frames: %s" % (id, ", ".join(wrong))
    for name, (id, durability, head, runs, losses) in want.items():
        topic = image.topics[name]
        if (topic.id, topic.config["durability"]) != (id, durability):
            return "%s is %016x %s, not %016x %s" % (name, topic.id, topic.config["durability"], id, durability)
        if sorted(topic.losses) != sorted(losses):
            return "losses of %s are %r, not %r" % (name, topic.losses, losses)
        if topic.was_ephemeral or durability == "ephemeral":
            continue
        if topic.batches != runs or topic.head != head:
            return "%s: batches %r and head %d, not %r and %d" % (name, topic.batches, topic.head, runs, head)
    return ""


STATES = 200000  # in all
LANES = 2        # simulators side by side, far apart in their seeds
SEEDS_APART = 1000000


def main():
    root = tempfile.mkdtemp(prefix="topics-images-")
    simulate = os.path.join(os.environ.get("TOPICS_BUILDDIR", "build"), "tests", "simulate")
    states = int(sys.argv[1]) if len(sys.argv) > 1 else STATES
    try:
        lanes = []
        for lane in range(LANES):
            folder = os.path.join(root, str(lane))
            os.mkdir(folder)
            command = [simulate, "--states", str(-(-states // LANES)), "--seed", str(1 + lane * SEEDS_APART), "--images", folder]
            lanes.append((folder, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)))
        problems, checked, failed = [], 0, 0
        for folder, process in lanes:
            print(process.communicate()[0].decode())
            failed += process.returncode != 0
        for folder, _ in lanes:
            for number in sorted(os.listdir(folder), key=int):
                difference = compare(os.path.join(folder, number))
                checked += 1
                if difference:
                    problems.append("FAILED state %s of %s: %s" % (number, os.path.basename(folder), difference))
        print("\n".join(problems[:10]))
        print("figures: %d crash states held against the independent reader" % checked)
        failed += len(problems)
        print("%d passed, %d failed, 0 skipped" % (checked - len(problems), failed))
        return 1 if failed or not checked else 0
    finally:
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
