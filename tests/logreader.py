#!/usr/bin/env python3
"""An independent reader of the log on disk, written from docs/format.md alone.

    logreader.py DIR [--json]

It only reads, and concludes what recovery must conclude at the daemon's start after a death of processes (or after an end of the machine: another boot token): which topics there
are, with which configuration, head, records and losses. Batches of class `ephemeral` are left out: the daemon's end takes them. Footers of sealed files say where these end, and are held
against the frames that they index (Image.footers); the control entries of a frame that is damaged are taken from them, and nothing else.
"""

import collections
import json
import os
import re
import struct
import sys

from logfooter import Footer

MAGIC, FRAME_MAGIC, END_MARK = b"TOPICSLG", 0x46504F54, 0x21444E45
BATCH, CREATE, CONFIGURE, DELETE, CEILING, LOSS, FLOOR, VOID, SYNC_MARK, STATE, END = 1, 2, 3, 4, 11, 13, 12, 14, 16, 20, 24
SAMPLE = 24  # of what is large: below the frontier one record in so many has its CRC checked
RESTART, CRASH, CORRUPT, POSSIBLE = 6, 7, 8, 1
EPHEMERAL, FSYNC = "ephemeral", "fsync"


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
    def __init__(self, id, name, config, ceiling=0):
        self.id, self.name, self.config, self.ceiling = id, name, config, ceiling
        self.head = 0
        self.floor = 0
        self.records = {}   # seq -> bytes of data
        self.losses = []    # (from, to, reason, flags)
        self.batches = []   # (first, last) of those that count at the daemon's start
        self.missing = []   # (from, to, proven): what a later frame shows to have stood before it
        self.closed = False
        self.was_ephemeral = self.ephemeral_now = config["durability"] == EPHEMERAL
        self.all_fsync = config["durability"] == FSYNC  # nothing of it may be shown and unsynced
        self.behind = 0     # number of the last place of damage that something of it stands behind


class Newer(Exception):
    """Written by a newer version."""


class Unproven(Exception):
    """There are records of topics whose names nothing can prove."""


class File:
    """A file of the log by name and bytes; where the header is broken, by what its frames say (docs/format.md §2)."""

    def __init__(self, name, raw):
        self.name, self.kind, self.id, self.bytes = name, name[0], int(name[1:], 16), raw
        self.salvaged, self.first_lsn, self.number, self.predecessor, self.frontier, self.boot, self.chain = False, 0, 0, 0, 0, b"", None
        self.frames_end, self.controls = 1 << 62, []  # of a sealed file
        header = raw[:512]
        self.zero = not any(header)
        self.valid = not self.zero and self._header(header)

    def _header(self, header):
        if len(header) < 512 or header[:8] != MAGIC or crc32c(header[:508]) != struct.unpack_from("<I", header, 508)[0]:
            return False
        version, features, id = struct.unpack_from("<IIQ", header, 8)
        if version != 1 or features:
            raise Newer("%s: version %d, features %x" % (self.name, version, features))
        length, = struct.unpack_from("<I", header, 28)
        number, first_lsn, predecessor, end, frontier = struct.unpack_from("<5Q", header, 32)
        if id != self.id or id == 0 or header[24] != ord(self.kind) or length != 512 or first_lsn < 512 or first_lsn % 8 or (predecessor and end != first_lsn):
            return False
        self.number, self.first_lsn, self.predecessor, self.frontier, self.boot = number, first_lsn, predecessor, frontier, header[80:120]
        self.chain, = struct.unpack_from("<I", header, 128)
        self.checkpoint_lsn, = struct.unpack_from("<Q", header, 136)
        self.prev_topic, self.prev_last_seq = struct.unpack_from("<QQ", header, 416)
        return True

    def salvage(self):
        """The first LSN that the first frame says which is valid but for LSN and chain; 0 if there is none."""
        for at in places(self.bytes, 512, len(self.bytes)):
            lsn = struct.unpack_from("<Q", self.bytes.ljust(at + 24, b"\0"), at + 16)[0]
            if frame_at(self, at, len(self.bytes), lsn) is not None:
                return lsn - (at - 512) if lsn >= at else 0
        return 0


def places(raw, offset, limit):
    """Offsets where a frame may begin."""
    pattern = struct.pack("<I", FRAME_MAGIC)
    at = raw.find(pattern, offset, limit)
    while at >= 0:
        if at % 8 == 0:
            yield at
        at = raw.find(pattern, at + 1, limit)


def frame_at(file, offset, limit, lsn, sample=1):
    """The frame there, valid but for its chain, or None."""
    try:
        return Frame(file, offset, limit, lsn, sample)
    except (ValueError, struct.error, IndexError):
        return None


def records_of(frame, offset, length, sample):
    """(data bytes, CRC field, whole) of each record of an area, which their lengths have to fill."""
    found, at, end = [], offset, offset + length
    while at < end:
        size, crc, data, meta, tag, node, attributes, flags = struct.unpack_from("<8I", frame, at)
        if size < 32 or size % 8 or at + size > end:
            raise ValueError("records")
        formed = (32 + data + meta + tag + node + attributes + 7) // 8 * 8 == size and flags <= 7 and flags & 6 != 6 and data >= 1 and \
            (flags & 1 or not tag) and (flags & 2 or not node)
        whole = formed and (len(found) % sample != 0 or crc32c(frame[at + 8:at + size]) == crc)
        found.append((frame[at + 32:at + 32 + data], crc, bool(whole)))
        at += size
    return found


class Frame:
    """A valid frame, or ValueError."""

    def __init__(self, file, offset, limit, expected, sample=1):
        whole, self.offset, self.sample = file.bytes, offset, sample
        if offset + 112 > limit:
            raise ValueError("no room")
        magic, flags, length, crc, lsn, self.frontier, self.prev_crc, entries = struct.unpack_from("<I4xIIQQII", whole, offset)[0:1] + (whole[offset + 5],) + \
            struct.unpack_from("<IIQQII", whole, offset + 8)
        if magic != FRAME_MAGIC or length % 8 or length < 112 or length > 1 << 30 or offset + length > limit:
            raise ValueError("head")
        frame = whole[offset:offset + length]
        self.prev_topic, self.prev_last_seq, self.incarnation, self.request_id, self.ts, count, area = struct.unpack_from("<QQQQqII", frame, 40)
        tail_length, mark = struct.unpack_from("<II", frame, length - 8)
        if tail_length != length or mark != END_MARK or lsn != expected:
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
                    covered += self._batch(frame, body)
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

    def _batch(self, frame, body):
        offset, length, table = struct.unpack_from("<III", body, 20)
        found = records_of(frame, offset, length, self.sample)
        self.whole = self.whole and all(ok for _, _, ok in found) and len(found) == struct.unpack_from("<I", body, 40)[0]
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


Indexed = collections.namedtuple("Indexed", "lsn end entries")  # what a footer has of a frame


class Image:
    """The state that a start finds. `boot`: the token of now, None for that of the last run; `conclude` False: what the log says, without what this start would add."""

    def __init__(self, files, boot=None, conclude=False, sample=1):
        self.sample = sample
        self.topics, self.by_id = {}, {}
        self.damage = []     # (lsn, file)
        self.damages = 0     # places of damage after which a topic's tail is in doubt
        self.unnamed = set() # topics of batches that nothing has created
        self.end, self.frames, self.clean, self.holes = "empty", 0, False, False
        self.place, self.hole = 512, None
        every = [File(name, raw) for name, raw in sorted(files.items()) if re.fullmatch("[wc][0-9a-f]{16}", name)]
        self.files = {f.id: f for f in every if f.kind == "w"}
        checkpoints = [f for f in every if f.kind == "c" and f.valid]
        self.frontier = max([f.frontier for f in every if f.valid] or [0])
        self.footers = {}    # id of a sealed file -> what its footer says otherwise than its frames
        holding = self._order()
        for file in holding:
            self._sealed(file, file is holding[-1])
        self.same_boot = boot is None or (bool(holding) and self.last_boot == boot)
        self._last_frontier(holding)
        self.from_checkpoint = self._checkpoint(sorted(checkpoints, key=lambda f: -f.number))
        if holding and holding[0].first_lsn > 512:
            self.hole = (512, None)
        for file in holding:
            self._walk(file, file is holding[-1])
        self._end(holding)
        if self.unnamed and conclude:
            raise Unproven("%d topics" % len(self.unnamed))
        if conclude:
            for topic in self.topics.values():
                self._conclude(topic)

    # ---- which file holds what ----

    def _order(self):
        valid = [f for f in self.files.values() if f.valid]
        found = list(valid)
        for file in self.files.values():
            if file.valid or file.zero:
                continue
            file.first_lsn = file.salvage()
            if file.first_lsn:
                file.salvaged = True
                file.number = max([f.number for f in valid if f.first_lsn < file.first_lsn] or [0])
                file.number = min([file.number] + [f.number - 1 for f in valid if f.predecessor == file.id]) + 0.5
                found.append(file)
        found.sort(key=lambda f: f.number)
        for i, file in enumerate(found):
            file.end = min([f.first_lsn for f in found[i + 1:]] or [1 << 63])
        self.last_boot = found[-1].boot if found else b""
        return sorted((f for f in found if f.first_lsn < f.end), key=lambda f: f.first_lsn)

    def _sealed(self, file, newest):
        """A file whose footer is valid, and ends where the file ends by the order of the files, ends with its frames."""
        try:
            footer = Footer(file, crc32c)
        except (ValueError, struct.error):
            return
        if not file.valid or not newest and footer.end_lsn != file.end:
            return
        self.frontier = max(self.frontier, footer.frontier)
        file.frames_end, at, frames = 512 + footer.end_lsn - file.first_lsn, 512, []
        file.controls = footer.controls()
        try:
            while at < file.frames_end:
                frames.append(Frame(file, at, file.frames_end, file.first_lsn + at - 512, 1 << 30))
                at += frames[-1].length
            self.footers[file.id] = footer.differences(frames)
        except (ValueError, struct.error) as problem:
            self.footers[file.id] = ["frame at %d: %s" % (at, problem)]

    def _last_frontier(self, holding):
        for file in reversed(holding):
            frames = [f for f in self._frames(file, self._limit(file)) if f is not None]
            if frames:
                self.frontier = max([self.frontier] + [f.frontier for f in frames])
                return

    @staticmethod
    def _limit(file):
        return min(len(file.bytes), 512 + file.end - file.first_lsn, file.frames_end)

    def _frames(self, file, limit):
        """The file's frames in order; None and then the offset for each place where one is missing."""
        offset, chain = 512, file.chain
        while offset < limit:
            lsn = file.first_lsn + offset - 512
            frame = frame_at(file, offset, limit, lsn, self.sample if lsn < self.frontier else 1)
            if frame is None or (chain is not None and frame.prev_crc != chain):
                frame = next((f for f in (frame_at(file, at, limit, file.first_lsn + at - 512) for at in places(file.bytes, offset + 112, limit))
                              if f is not None), None)
                yield None
                if frame is None:
                    return
            yield frame
            offset, chain = frame.offset + frame.length, frame.crc

    # ---- checkpoint ----

    def _checkpoint(self, files):
        for file in files:
            frames, lsn, chain = [], 512, 0
            while True:
                frame = frame_at(file, lsn, len(file.bytes), lsn)
                if frame is None or frame.prev_crc != chain or not frame.whole:
                    break
                if frame.entries[0][0] == END:
                    at, count = struct.unpack_from("<QQ", frame.entries[0][2], 0)
                    if len(frame.entries) == 1 and at == file.checkpoint_lsn and count == len(frames):
                        for each in frames:
                            self._state(each)
                        return at
                    break
                frames.append(frame)
                lsn, chain = frame.end, frame.crc
        return 0

    def _state(self, frame):
        for kind, flags, body in frame.entries:
            if kind == STATE:
                id, head, ceiling, floor = struct.unpack_from("<4Q", body, 0)
                name_length, config_length, _, more = struct.unpack_from("<4I", body, 56)
                config = body[72:72 + config_length]
                topic = Topic(id, body[72 + config_length:72 + config_length + name_length].decode(), config_of(config), ceiling)
                topic.head, topic.floor, topic.closed = head, floor, bool(more & 1)
                self.by_id[id] = self.topics[topic.name] = topic
            elif kind == LOSS:
                self._loss(body)

    # ---- the walk ----

    def _walk(self, file, newest):
        limit, offset = self._limit(file), 512
        begins = limit  # of a hole
        if self.hole is not None and not file.salvaged and self.hole[0] < file.first_lsn <= self.frontier:
            self._hole_ends(file)  # its header says what its first frame would
            self.place = file.first_lsn
        for frame in self._frames(file, limit):
            # Behind the frontier a frame counts only when it is whole.
            if frame is None or (frame.end > self.frontier and not frame.whole):
                self._hole_begins(file, offset, limit, newest)
                begins, offset = offset, offset if frame is None else frame.offset + frame.length
                continue
            self._indexed(file, begins, frame.offset)
            self._hole_ends(frame)
            begins = limit
            self._apply(frame)
            self.frames += 1
            self.place, offset = frame.end, frame.offset + frame.length
            self.clean = frame.entries[0][0] == SYNC_MARK and bool(frame.entries[0][1] & 1)
        if not newest and file.first_lsn + offset - 512 < file.end:
            self._hole_begins(file, offset, limit, newest)

        self._indexed(file, begins, limit)

    def _indexed(self, file, begins, ends):
        """The control entries of frames that are gone stand in the footer too."""
        for lsn, _, _, kind, entry in file.controls:
            if begins <= 512 + lsn - file.first_lsn < ends:
                flags, = struct.unpack_from("<H", entry, 2)
                self._apply(Indexed(lsn, lsn, [(kind, flags, entry[8:])]))

    def _hole_begins(self, file, offset, limit, newest):
        rest = file.bytes[offset:limit]
        if self.hole is not None or (newest and not any(rest)):
            return
        self.hole = (self.place, (file, offset, rest, newest))

    def _hole_ends(self, frame):
        if self.hole is None:
            return
        (lsn, where), self.hole = self.hole, None
        self.damage.append((lsn, where[0].id if where else 0))
        proven = lsn < self.frontier
        if not proven and not self.same_boot:
            # Nobody was promised what a power cut took here; what follows says which seqs are missing.
            self.holes = True
            return
        self.damages += 1
        topic = self.by_id.get(frame.prev_topic)
        if topic is not None:
            topic.behind = self.damages
            if not topic.was_ephemeral:
                topic.head = max(topic.head, frame.prev_last_seq)
                self._missing(topic, frame.prev_last_seq, proven)

    def _end(self, holding):
        if self.hole is None and self.place < self.frontier:
            self.hole = (self.place, None)
        self.end = "zeros" if self.hole is None else "torn"
        if self.hole is None:
            return
        (lsn, where), self.hole = self.hole, None
        self.clean = False
        if lsn >= self.frontier and (not self.same_boot or self._torn(where)):
            return
        self.damage.append((lsn, where[0].id if where else 0))
        self.damages += 1

    @staticmethod
    def _torn(where):
        """What a killed process leaves of a write: a prefix of a frame, then nothing but zeros."""
        if where is None or not where[3]:
            return False
        file, offset, rest, _ = where
        prefix = rest.rstrip(b"\0")
        if len(prefix) >= 4 and prefix[:4] != struct.pack("<I", FRAME_MAGIC):
            return False
        if len(prefix) >= 12 and struct.unpack_from("<I", rest, 8)[0] <= len(prefix):
            return False
        if len(prefix) >= 24 and struct.unpack_from("<Q", rest, 16)[0] != file.first_lsn + offset - 512:
            return False
        if len(prefix) < 96:
            return True
        length, (entries,), (area,) = struct.unpack_from("<I", rest, 8)[0], struct.unpack_from("<I", rest, 36), struct.unpack_from("<I", rest, 84)
        return 112 <= length <= 1 << 30 and 96 + entries + area + (8 + entries if rest[5] & 1 else 0) + 8 == length

    # ---- entries ----

    def _apply(self, frame):
        before = frame.lsn < self.from_checkpoint
        for kind, flags, body in frame.entries:
            id = struct.unpack_from("<Q", body, 0)[0] if len(body) >= 8 else 0
            topic = self.by_id.get(id)
            if kind == VOID:
                self.holes = True
            elif kind == BATCH:
                self._batch(frame, body, before)
            elif before:
                if topic is not None and kind in (CREATE, CONFIGURE):
                    at, length = (24, struct.unpack_from("<I", body, 20)[0]) if kind == CREATE else (16, struct.unpack_from("<I", body, 8)[0])
                    topic.was_ephemeral = topic.was_ephemeral or config_of(body[at:at + length])["durability"] == EPHEMERAL
            elif kind == CREATE and topic is None:
                _, ceiling, name_length, config_length = struct.unpack_from("<QQII", body, 0)
                config = body[24:24 + config_length]
                name = body[24 + config_length:24 + config_length + name_length].decode()
                if name in self.topics:
                    del self.by_id[self.topics[name].id]
                self.by_id[id] = self.topics[name] = Topic(id, name, config_of(config), ceiling)
                self.by_id[id].behind = self.damages
            elif kind == DELETE:
                self.unnamed.discard(id)
                if topic is not None:
                    del self.by_id[id]
                    if self.topics.get(topic.name) is topic:
                        del self.topics[topic.name]
            elif topic is not None:
                self._about(topic, kind, flags, body, frame.end <= self.frontier)

    def _about(self, topic, kind, flags, body, proven):
        if kind == CONFIGURE:
            topic.config = config_of(body[16:16 + struct.unpack_from("<I", body, 8)[0]])
            durability = topic.config["durability"]
            topic.was_ephemeral = topic.was_ephemeral or durability == EPHEMERAL
            topic.ephemeral_now = topic.ephemeral_now or durability == EPHEMERAL
            # Everything before a proven frame is synced.
            topic.all_fsync = durability == FSYNC and (topic.all_fsync or proven)
        elif kind == CEILING:
            topic.ceiling, topic.closed, topic.behind = struct.unpack_from("<Q", body, 8)[0], bool(flags & 1), self.damages
        elif kind == LOSS:
            self._loss(body)
        elif kind == FLOOR:
            topic.floor, = struct.unpack_from("<Q", body, 8)

    def _loss(self, body):
        id, first, last, reason, more = struct.unpack_from("<QQQII", body, 0)
        if id in self.by_id:
            self.by_id[id].losses.append((first, last, reason, more))
            self.by_id[id].head = max(self.by_id[id].head, last)

    def _batch(self, frame, body, before):
        id, first, count = struct.unpack_from("<QQI", body, 0)
        topic, ephemeral, last = self.by_id.get(id), body[44] == 0, first + count - 1
        if topic is None:
            if not before and not self.holes:
                self.unnamed.add(id)
            return
        topic.behind = self.damages
        topic.head = max(topic.head, last)
        if not before:
            topic.closed, topic.ephemeral_now = False, ephemeral
        if ephemeral:
            topic.was_ephemeral = True
            return
        if topic.batches and first <= topic.batches[-1][1]:
            return
        if not topic.was_ephemeral:
            self._missing(topic, first - 1, frame.end <= self.frontier)
        topic.batches.append((first, last))
        for i, (data, _, ok) in enumerate(frame.batches[(id, first)]):
            if ok:
                topic.records[first + i] = data

    @staticmethod
    def _missing(topic, last, proven):
        """Nothing stands between what is known of the topic and `last`."""
        known = max([b[1] for b in topic.batches[-1:]] + [m[1] for m in topic.missing[-1:]] + [0])
        if last > known:
            topic.missing.append((known + 1, last, proven))

    # ---- what the start announces ----

    def _conclude(self, topic):
        for first, last, proven in [] if topic.was_ephemeral else topic.missing:
            crash = not proven and not self.same_boot
            possible = crash and topic.config["durability"] == FSYNC
            self._lose(topic, first, last, CRASH if crash else CORRUPT, POSSIBLE if possible else 0)
        if topic.was_ephemeral:
            known = 0
            for first, last in topic.batches:
                self._lose(topic, known + 1, first - 1, RESTART)
                known = last
        known = max([b[1] for b in topic.batches[-1:]] + [m[1] for m in topic.missing[-1:] if not topic.was_ephemeral] + [0])
        if topic.ephemeral_now:
            at_head = self.clean or topic.closed or topic.ceiling < topic.head
            self._lose(topic, known + 1, topic.head if at_head else topic.ceiling, RESTART)
            return
        self._lose(topic, known + 1, topic.head, RESTART if topic.was_ephemeral else CORRUPT)
        if topic.closed or topic.ceiling <= topic.head:
            return
        if self.damages > topic.behind:
            self._lose(topic, topic.head + 1, topic.ceiling, CORRUPT, POSSIBLE)
        elif not self.same_boot and not self.clean and not topic.all_fsync:
            self._lose(topic, topic.head + 1, topic.ceiling, CRASH, POSSIBLE)

    @staticmethod
    def _lose(topic, first, last, reason, flags=0):
        """What of [first, last] is neither below the floor nor known to be lost is so now."""
        first = max(first, topic.floor + 1)
        topic.head = max(topic.head, last if last >= first else 0)
        for loss in sorted(topic.losses) + [(last + 1, last + 1, 0, 0)]:
            if first <= min(last, loss[0] - 1):
                topic.losses.append((first, min(last, loss[0] - 1), reason, flags))
            first = max(first, loss[1] + 1)


def read(directory, **options):
    """The image in a directory, or in a dictionary of names and bytes."""
    if isinstance(directory, dict):
        return Image(directory, **options)
    files = {}
    for name in os.listdir(directory):
        if re.fullmatch("[wc][0-9a-f]{16}", name):
            with open(os.path.join(directory, name), "rb") as f:
                files[name] = f.read()
    return Image(files, **options)


def main():
    image = read(sys.argv[1], conclude=True)
    if "--json" in sys.argv:
        print(json.dumps({"frontier": image.frontier, "end": image.end, "frames": image.frames, "damage": image.damage,
                          "footers": {"%016x" % id: wrong for id, wrong in image.footers.items()},
                          "topics": {t.name: {"epoch": "%016x" % t.id, "config": t.config, "head": t.head, "records": len(t.records),
                                              "losses": sorted(t.losses)} for t in image.topics.values()}}, indent=1, sort_keys=True))
        return 0
    print("%d files (%d sealed), %d frames, frontier %d, ends with %s, %d places of damage" % (len(image.files), len(image.footers), image.frames, image.frontier,
                                                                                              image.end, len(image.damage)))
    for id, wrong in sorted(image.footers.items()):
        if wrong:
            print("the footer of %016x differs from its frames: %s" % (id, ", ".join(wrong)))
    for topic in sorted(image.topics.values(), key=lambda t: t.name):
        print("%-30s %-9s head %d, %d records, losses %s" % (topic.name, topic.config["durability"], topic.head, len(topic.records), sorted(topic.losses)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
