#!/usr/bin/env python3
"""Damaged images: recovery and the independent reader of the format have to find the same records, seqs, losses and configuration on each, or both to refuse it.

    check_damage.py [--seed S] [--part N] [--only NAME] [--verbose]

The images are the golden ones and some that the simulator leaves behind (small files, several topics, kills, losses). To each is done: every bit of every file's header; sampled
bits of the rest; blocks of 512 bytes and 4 KiB zeroed, doubled, swapped; cuts at many lengths; frames and blocks of another file; a file removed. Each image is started on in the
boot in which it was written and in another.
"""

import argparse
import functools
import os
import random
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import logreader  # noqa: E402

GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden")
PROGRAMS = os.path.join(os.environ.get("TOPICS_BUILDDIR", "build"), "tests")
OTHER_BOOT = bytes(range(40))

# The same small pieces come again in every image.
logreader.crc32c = functools.lru_cache(maxsize=1 << 18)(logreader.crc32c)


class Recovery:
    """recover_images, fed through pipes."""

    def __init__(self):
        self.process = None

    def send(self, images):
        """Begins with (files, boot, times) triples; receive() gives their lines one by one, in this order."""
        self.process = self.process or subprocess.Popen([os.path.join(PROGRAMS, "recover_images")], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.writer = threading.Thread(target=self._write, args=(images,))
        self.writer.start()

    def _write(self, images):
        try:
            for files, boot, times in images:
                out = [b"image %s %d %d\n" % (boot.hex().encode(), len(files), times)]
                for name, raw in files.items():
                    out += [b"%s %d\n" % (name.encode(), len(raw)), raw]
                self.process.stdin.write(b"".join(out))
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # receive() sees that it has ended

    def receive(self):
        lines = []
        while self.process is not None:
            line = self.process.stdout.readline()
            if line == b"end\n":
                return lines
            if line == b"":
                self.writer.join()
                lines = ["recovery ended with status %d" % self.process.wait()]
                self.process = None
                return lines
            lines.append(line.decode().rstrip("\n"))
        return ["not recovered, for recovery ended before"]


def merged(losses):
    """Losses in order, neighbours of one kind as one."""
    out = []
    for first, last, reason, flags in sorted(losses):
        if out and out[-1][1] + 1 == first and out[-1][2:] == (reason, flags):
            out[-1] = (out[-1][0], last, reason, flags)
        else:
            out.append((first, last, reason, flags))
    return out


def recovered(lines):
    """What recover_images said: "refused", or name -> (id, head, configuration, records, losses)."""
    if lines and lines[0].startswith("refused"):
        return "refused"
    topics, topic = {}, None
    if not lines or lines[0] != "ok":
        return " ".join(lines[:1]) or "nothing"
    for line in lines[1:]:
        word, *rest = line.split(" ")
        if word == "topic":
            topic = topics[rest[0]] = [int(rest[1], 16), int(rest[2]), logreader.config_of(bytes.fromhex(rest[3])), {}, []]
        elif word == "record":
            topic[3][int(rest[0])] = (int(rest[1]), int(rest[2], 16))
        elif word == "lost":
            topic[4].append(tuple(int(n) for n in rest))
        else:
            return line if word != "again" else "another outcome when recovery runs again"
    return {name: (id, head, config, records, merged(losses)) for name, (id, head, config, records, losses) in topics.items()}


def concluded(files, boot):
    try:
        image = logreader.read(files, boot=boot, conclude=True)
    except (logreader.Newer, logreader.Unproven):
        return "refused"
    return {t.name: (t.id, t.head, t.config, {seq: (len(data), logreader.crc32c(data)) for seq, data in t.records.items()}, merged(t.losses))
            for t in image.topics.values()}


def difference(mine, theirs):
    """Of the reader's and recovery's outcome; empty when they agree."""
    if isinstance(mine, str) or isinstance(theirs, str) or set(mine) != set(theirs):
        return "" if mine == theirs else "the reader finds %s, recovery %s" % tuple(x if isinstance(x, str) else sorted(x) for x in (mine, theirs))
    for name in mine:
        for what, a, b in zip(("epoch", "head", "configuration", "records", "losses"), mine[name], theirs[name]):
            if a != b:
                both = set(a.items()) ^ set(b.items()) if isinstance(a, dict) and what == "records" else ()
                return "%s of %s: the reader finds %s, recovery %s" % ((what, name) + ((sorted(a), sorted(b), ) if both else (a, b)))
    return ""


# ---- images and what is done to them ----

def directory(path):
    files = {}
    for name in sorted(os.listdir(path)):
        if re.fullmatch("[wc][0-9a-f]{16}", name):
            with open(os.path.join(path, name), "rb") as f:
                files[name] = f.read()
    return files


def base_images(root, wanted):
    images = {name: directory(os.path.join(GOLDEN, name)) for name in ("clean", "killed", "recovered", "void")}
    subprocess.run([os.path.join(PROGRAMS, "simulate"), "--states", "17833", "--seed", "2", "--images", root], stdout=subprocess.DEVNULL, check=True)
    states = sorted(os.listdir(root), key=int)
    sized = [(n, directory(os.path.join(root, n))) for n in states]
    small = [(n, files) for n, files in sized if sum(len(raw.rstrip(b"\0")) for raw in files.values()) > 4000 and sum(map(len, files.values())) < 120000]
    for number, files in small[::max(1, len(small) // wanted)][:wanted]:
        images["state-" + number] = files
    return images


def with_bytes(files, name, offset, new):
    raw = files[name]
    return dict(files, **{name: raw[:offset] + new + raw[offset + len(new):]})


def flip(files, name, bit):
    return with_bytes(files, name, bit // 8, bytes([files[name][bit // 8] ^ 1 << bit % 8]))


def header_bits(files, rng, part):
    for name, raw in files.items():
        for bit in range(0, 8 * min(512, len(raw)), part):
            yield "bit %d of the header of %s" % (bit, name), flip(files, name, bit)


def frame_bits(files, rng, part):
    for name, raw in files.items():
        used = len(raw.rstrip(b"\0"))
        for _ in range((120 if used > 512 else 12) // part + 1):
            bit = rng.randrange(8 * 512, 8 * len(raw)) if used <= 512 < len(raw) else rng.randrange(8 * max(used, 1))
            if bit >= 8 * 512:
                yield "bit %d of %s" % (bit, name), flip(files, name, bit)


def blocks(files, rng, part):
    for size in (512, 4096):
        for name, raw in files.items():
            places = list(range(0, max(1, min(len(raw), len(raw.rstrip(b"\0")) + size)), size))
            for at in places[::part]:
                other = rng.choice(places)
                block, second = raw[at:at + size], raw[other:other + size]
                yield "zeros over %d+%d of %s" % (at, size, name), with_bytes(files, name, at, bytes(len(block)))
                if len(block) == len(second) and at != other:
                    yield "%d+%d of %s over %d" % (at, size, name, other), with_bytes(files, name, other, block)
                    yield "%d+%d and %d of %s swapped" % (at, size, other, name), with_bytes(with_bytes(files, name, other, block), name, at, second)


def cuts(files, rng, part):
    for name, raw in files.items():
        used = len(raw.rstrip(b"\0"))
        lengths = {0, 8, 511, 512, 513, used, used - 1, len(raw) - 1} | {rng.randrange(len(raw) + 1) for _ in range(24 // part)} | \
            {rng.randrange(used + 1) for _ in range(24 // part)}
        for length in sorted(n for n in lengths if 0 <= n < len(raw)):
            yield "%s cut at %d" % (name, length), dict(files, **{name: raw[:length]})


def splices(files, rng, part):
    names = [n for n in files if len(files[n].rstrip(b"\0")) > 512]
    for name in names:
        for _ in range(24 // part):
            source = rng.choice(names)
            frames = [at for at in logreader.places(files[source], 512, len(files[source]))]
            targets = [at for at in logreader.places(files[name], 512, len(files[name]))] + [512]
            if not frames:
                continue
            at, to = rng.choice(frames), rng.choice(targets)
            length = struct.unpack_from("<I", files[source], at + 8)[0]
            piece = files[source][at:at + length][:max(0, len(files[name]) - to)]
            yield "the frame at %d of %s over %d of %s" % (at, source, to, name), with_bytes(files, name, to, piece)
        source = rng.choice(names)
        yield "the header of %s in %s" % (source, name), with_bytes(files, name, 0, files[source][:512])


def removals(files, rng, part):
    for name in files:
        yield "%s removed" % name, {n: raw for n, raw in files.items() if n != name}
        yield "%s all zero" % name, dict(files, **{name: bytes(len(files[name]))})


KINDS = (header_bits, frame_bits, blocks, cuts, splices, removals)


def newest_boot(files):
    read = [logreader.File(name, raw) for name, raw in files.items() if name[0] == "w"]
    return max((f for f in read if f.valid), key=lambda f: f.number).boot


class Check:
    def __init__(self, verbose):
        self.verbose, self.recovery, self.known = verbose, Recovery(), {}
        self.agreed, self.failures, self.waiting = 0, [], []

    def conclude(self, files, boot):
        """The reader's outcome; it depends on a header's bytes only through what they say, so all that say the same are read once."""
        try:
            key = (boot,) + tuple((n, raw[512:], vars(logreader.File(n, raw)).get("number", 0) if logreader.File(n, raw).valid else None, not any(raw[:512]),
                                   len(raw), raw[:512] if logreader.File(n, raw).valid else b"") for n, raw in files.items())
        except logreader.Newer:
            return "refused"
        if key not in self.known:
            if len(self.known) > 200:
                self.known.clear()
            self.known[key] = concluded(files, boot)
        return self.known[key]

    def hold(self, title, files, boot, times=2):
        self.waiting.append((title, files, boot, times))
        if len(self.waiting) == 256:
            self.flush()

    def flush(self):
        """The reader and recovery work at the same time."""
        if not self.waiting:
            return
        self.recovery.send([(files, boot, times) for _, files, boot, times in self.waiting])
        for title, files, boot, _ in self.waiting:
            wrong = difference(self.conclude(files, boot), recovered(self.recovery.receive()))
            if wrong:
                self.failures.append("%s: %s" % (title, wrong))
                if self.verbose:
                    print("FAILED " + self.failures[-1], flush=True)
            else:
                self.agreed += 1
        self.recovery.writer.join()
        self.waiting = []


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--part", type=int, default=1, help="only one in so many")
    parser.add_argument("--only", default="", help="an image")
    parser.add_argument("--verbose", action="store_true")
    args = parser.parse_args()
    root, check = tempfile.mkdtemp(prefix="topics-damage-"), Check(args.verbose)
    try:
        for name, files in base_images(root, 4).items():
            if args.only not in name:
                continue
            boot, rng, began = newest_boot(files), random.Random("%d %s" % (args.seed, name)), time.monotonic()
            for same in (True, False):
                check.hold("%s as it is, %s boot" % (name, "same" if same else "another"), files, boot if same else OTHER_BOOT)
            for kind in KINDS:
                # Every bit of every header of one image says what there is to say of the bits; the others sample them.
                part = args.part * (61 if kind is header_bits and name != "killed" else 1)
                for i, (what, damaged) in enumerate(kind(files, rng, part)):
                    check.hold("%s, %s, %s boot" % (name, what, "another" if i % 3 == 2 else "same"), damaged, OTHER_BOOT if i % 3 == 2 else boot,
                               times=2 if kind is not header_bits or i % 16 == 0 else 1)
            check.flush()
            if args.verbose:
                print("%s: %d agree, %d do not, %.1f s" % (name, check.agreed, len(check.failures), time.monotonic() - began), flush=True)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    for text in check.failures[:20]:
        print("FAILED " + text)
    print("figures: %d damaged images held against the independent reader" % (check.agreed + len(check.failures)))
    print("%d passed, %d failed, 0 skipped" % (check.agreed, len(check.failures)))
    return 1 if check.failures or not check.agreed else 0


if __name__ == "__main__":
    sys.exit(main())
