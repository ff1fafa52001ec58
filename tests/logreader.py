#!/usr/bin/env python3
"""An independent reader of the log on disk, written from docs/format.md alone.

    logreader.py DIR [--json]

It only reads, and concludes what recovery must conclude after a death of processes: which topics there are, with which configuration, head, records and losses. Batches of class
`ephemeral` are left out: the daemon's end takes them.
"""

import json
import os
import re
import struct
import sys

MAGIC, FRAME_MAGIC, END_MARK = b"TOPICSLG", 0x46504F54, 0x21444E45
BATCH, CREATE, CONFIGURE, DELETE, CEILING, LOSS, VOID, SYNC_MARK, STATE = 1, 2, 3, 4, 11, 13, 14, 16, 20
SAMPLE = 24  # below the frontier one record in so many has its CRC checked; behind it, all


def _tables():
    first = []
    for i in range(256):
        for _ in range(8):
            i = (i >> 1) ^ (0x82F63B78 if i & 1 else 0)
        first.append(i)
    tables = [first]
    for _ in range(7):
        tables.append([(c >> 8) ^ first[c & 255] for c in tables[-1]])
    return tables


T0, T1, T2, T3, T4, T5, T6, T7 = _tables()


def crc32c(data, crc=0):
    crc ^= 0xFFFFFFFF
    whole = len(data) // 8 * 8
    for low, high in struct.iter_unpack("<II", data[:whole]):
        low ^= crc
        crc = (T7[low & 255] ^ T6[low >> 8 & 255] ^ T5[low >> 16 & 255] ^ T4[low >> 24] ^
               T3[high & 255] ^ T2[high >> 8 & 255] ^ T1[high >> 16 & 255] ^ T0[high >> 24])
    for byte in data[whole:]:
        crc = (crc >> 8) ^ T0[(crc ^ byte) & 255]
    return crc ^ 0xFFFFFFFF


class Topic:
    def __init__(self, id, name, config):
        self.id, self.name, self.config = id, name, config
        self.head = 0
        self.records = {}   # seq -> bytes of data
        self.losses = []    # (from, to, reason, flags)
        self.batches = []   # (first, last)
        self.was_ephemeral = False


class Newer(Exception):
    """Written by a newer version."""


class File:
    def __init__(self, path, kind, id):
        self.path, self.kind, self.id = path, kind, id
        with open(path, "rb") as f:
            self.bytes = f.read()
        self.valid = False
        header = self.bytes[:512]
        self.zero = not any(header)
        if len(header) < 512 or self.zero or header[:8] != MAGIC:
            return
        if crc32c(header[:508]) != struct.unpack_from("<I", header, 508)[0]:
            return
        version, features = struct.unpack_from("<II", header, 8)
        if version != 1 or features:
            raise Newer("%s: version %d, features %x" % (path, version, features))
        self.own_id, = struct.unpack_from("<Q", header, 16)
        self.number, self.first_lsn, self.predecessor, self.predecessor_end, self.frontier = struct.unpack_from("<5Q", header, 32)
        self.size, = struct.unpack_from("<Q", header, 120)
        self.chain, = struct.unpack_from("<I", header, 128)
        self.valid = self.own_id == id and header[24] == ord(kind) and self.first_lsn >= 512 and self.first_lsn % 8 == 0


def records_of(frame, offset, length, check):
    """(data bytes, CRC field, whole) of each record of an area; None when the lengths do not fill it."""
    found, at, end = [], offset, offset + length
    while at < end:
        if at + 32 > end:
            return None
        size, crc, data, meta, tag, node, attributes, flags = struct.unpack_from("<8I", frame, at)
        if size < 32 or size % 8 or at + size > end or (32 + data + meta + tag + node + attributes + 7) // 8 * 8 != size or flags > 7 or data < 1:
            return None
        found.append((frame[at + 32:at + 32 + data], crc, not check(len(found)) or crc32c(frame[at + 8:at + size]) == crc))
        at += size
    return found


class Frame:
    """A valid frame, or ValueError."""

    def __init__(self, file, offset, limit, check):
        whole = file.bytes
        if offset + 112 > limit:
            raise ValueError("no room")
        magic, flags, length, crc, lsn, self.frontier, self.prev_crc, entries = struct.unpack_from("<I4xIIQQII", whole, offset)[0:1] + (whole[offset + 5],) + \
            struct.unpack_from("<IIQQII", whole, offset + 8)
        if magic != FRAME_MAGIC or length % 8 or length < 112 or length > 1 << 30 or offset + length > limit:
            raise ValueError("head")
        frame = whole[offset:offset + length]
        self.prev_topic, self.prev_last_seq, self.incarnation, self.request_id, self.ts, count, area = struct.unpack_from("<QQQQqII", frame, 40)
        tail_length, mark = struct.unpack_from("<II", frame, length - 8)
        if tail_length != length or mark != END_MARK or lsn != file.first_lsn + offset - 512:
            raise ValueError("ends or LSN")
        second = 8 + entries if flags & 1 else 0
        second = (second + 7) // 8 * 8
        if entries % 8 or 96 + entries + area + second + 8 != length or count < 1:
            raise ValueError("areas")
        self.lsn, self.end, self.crc, self.length = lsn, lsn + length, crc, length
        self.entries = self._entries(frame, entries, count)
        covered = struct.pack("<QQ", file.id, offset) + frame[:12] + frame[16:96 + entries]
        self.whole = True
        if self.entries[0][0] != VOID:
            for kind, _, body in self.entries:
                if kind == BATCH:
                    covered += self._batch(frame, body, check)
        covered += frame[-8:]
        if crc32c(covered) != crc:
            raise ValueError("CRC")

    @staticmethod
    def _entries(frame, length, count):
        found, at = [], 96
        while at < 96 + length:
            kind, flags, size = struct.unpack_from("<HHI", frame, at)
            if size < 8 or size % 8 or at + size > 96 + length:
                raise ValueError("entry")
            found.append((kind, flags, frame[at + 8:at + size]))
            at += size
        if len(found) != count:
            raise ValueError("count")
        return found

    def _batch(self, frame, body, check):
        offset, length, table = struct.unpack_from("<III", body, 20)
        found = records_of(frame, offset, length, check)
        if found is None:
            raise ValueError("records")
        self.whole = self.whole and all(ok for _, _, ok in found)
        self.batches = getattr(self, "batches", {})
        self.batches[struct.unpack_from("<QQ", body, 0)] = found
        return b"".join(struct.pack("<I", crc) for _, crc, _ in found) + frame[offset + length:offset + length + table]


def config_of(raw):
    version, type_, durability, discard, flags, priority, dead = struct.unpack_from("<BBBBIiI", raw, 0)
    ttl, records, size, window, lease, jitter, deliveries = struct.unpack_from("<7Q", raw, 16)
    return {"type": ("log", "queue")[type_], "durability": ("ephemeral", "memory", "disk", "fsync")[durability], "durable": durability == 3,
            "discard": ("old", "reject")[discard], "priority": priority if flags & 1 else None, "auto_priority": bool(flags & 2),
            "auto_create": bool(flags & 4), "dedupe_node": bool(flags & 8), "leases_durable": bool(flags & 16), "ttl_ms": ttl, "cap_records": records,
            "cap_bytes": size, "idempotency_window_ms": window, "lease_ms": lease, "claim_jitter_ms": jitter, "max_deliveries": deliveries,
            "dead_letter": raw[72:72 + dead].decode() if flags & 32 else None}


class Image:
    def __init__(self, directory):
        self.files = {}
        self.topics = {}     # name -> Topic
        self.by_id = {}
        self.damage = []     # (lsn, file)
        self.end = "empty"
        for name in sorted(os.listdir(directory)):
            if re.fullmatch("w[0-9a-f]{16}", name):
                file = File(os.path.join(directory, name), "w", int(name[1:], 16))
                self.files[file.id] = file
        valid = sorted((f for f in self.files.values() if f.valid), key=lambda f: f.number)
        ends = {}
        for i, file in enumerate(valid):
            ends[file.id] = min([f.first_lsn for f in valid[i + 1:]] or [1 << 63])
        self.frontier = max([f.frontier for f in valid] or [512])
        holding = [f for f in valid if f.first_lsn < ends[f.id]]
        holding.sort(key=lambda f: f.first_lsn)
        self.frames = 0
        for last, file in ((f is holding[-1], f) for f in holding):
            self._walk(file, min(len(file.bytes), 512 + ends[file.id] - file.first_lsn), last)

    def _walk(self, file, limit, newest):
        offset, chain = 512, file.chain
        while offset + 112 <= limit:
            proven = file.first_lsn + offset - 512 < self.frontier
            check = (lambda i, n=self.frames: (i + n) % SAMPLE == 0) if proven else (lambda i: True)
            try:
                frame = Frame(file, offset, limit, check)
                if chain is not None and frame.prev_crc != chain:
                    raise ValueError("chain")
                if not proven and not frame.whole:
                    raise ValueError("not whole")
            except (ValueError, struct.error):
                following = self._resync(file, offset + 8, limit)
                if following is None:
                    self.end = "zeros" if not any(file.bytes[offset:limit]) else "torn"
                    if not newest and self.end == "torn":
                        self.damage.append((file.first_lsn + offset - 512, file.id))
                    return
                self.damage.append((file.first_lsn + offset - 512, file.id))
                offset, chain = following, None
                continue
            self.frontier = max(self.frontier, frame.frontier)
            self._apply(frame)
            self.frames += 1
            offset, chain = offset + frame.length, frame.crc

    def _resync(self, file, offset, limit):
        pattern = struct.pack("<I", FRAME_MAGIC)
        while True:
            at = file.bytes.find(pattern, offset, limit)
            if at < 0:
                return None
            if at % 8 == 0:
                try:
                    if Frame(file, at, limit, lambda i: True).whole:
                        return at
                except (ValueError, struct.error):
                    pass
            offset = at + 1

    def _apply(self, frame):
        for kind, flags, body in frame.entries:
            if kind == CREATE:
                id, _, name_length, config_length = struct.unpack_from("<QQII", body, 0)
                config = body[24:24 + config_length]
                name = body[24 + config_length:24 + config_length + name_length].decode()
                self.by_id[id] = self.topics[name] = Topic(id, name, config_of(config))
            elif kind == CONFIGURE:
                id, length = struct.unpack_from("<QI", body, 0)
                self.by_id[id].config = config_of(body[16:16 + length])
            elif kind == DELETE:
                topic = self.by_id.pop(struct.unpack_from("<Q", body, 0)[0], None)
                if topic is not None:
                    del self.topics[topic.name]
            elif kind == LOSS:
                id, first, last, reason, more = struct.unpack_from("<QQQII", body, 0)
                if id in self.by_id:
                    self.by_id[id].losses.append((first, last, reason, more))
                    self.by_id[id].head = max(self.by_id[id].head, last)
            elif kind == BATCH:
                self._batch(frame, body)

    def _batch(self, frame, body):
        id, first = struct.unpack_from("<QQ", body, 0)
        topic, durability = self.by_id.get(id), body[44]
        if topic is None:
            return
        found = frame.batches[(id, first)]
        topic.head = max(topic.head, first + len(found) - 1)
        if durability == 0:
            topic.was_ephemeral = True
            return
        topic.batches.append((first, first + len(found) - 1))
        for i, (data, _, ok) in enumerate(found):
            if ok:
                topic.records[first + i] = data


def read(directory):
    return Image(directory)


def main():
    image = read(sys.argv[1])
    if "--json" in sys.argv:
        print(json.dumps({"frontier": image.frontier, "end": image.end, "frames": image.frames, "damage": image.damage,
                          "topics": {t.name: {"epoch": "%016x" % t.id, "config": t.config, "head": t.head, "records": len(t.records),
                                              "losses": t.losses} for t in image.topics.values()}}, indent=1, sort_keys=True))
        return 0
    print("%d files, %d frames, frontier %d, ends with %s, %d places of damage" % (len(image.files), image.frames, image.frontier, image.end,
                                                                                  len(image.damage)))
    for topic in sorted(image.topics.values(), key=lambda t: t.name):
        print("%-30s %-9s head %d, %d records, losses %s" % (topic.name, topic.config["durability"], topic.head, len(topic.records), topic.losses))
    return 0


if __name__ == "__main__":
    sys.exit(main())
