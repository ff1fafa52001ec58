"""Footers of sealed files, read from docs/format.md alone: the part of the independent reader that holds them against the frames that they index."""

import struct

FOOTER_MAGIC = b"TOPICSFT"
BATCH, ANSWER, SYNC_MARK = 1, 15, 16


class Footer:
    """The footer at the end of a file (docs/format.md, 8), or ValueError. Believes nothing but the format: what it says is compared with the frames by `differences`."""

    EXTENTS, TAGS, KEYS, CONTROLS, TOPICS = 1, 2, 3, 4, 5

    def __init__(self, file, crc32c):
        raw, self.file, self.crc32c = file.bytes, file, crc32c
        trailer = raw[-64:]
        if len(raw) < 512 + 64 or len(raw) % 8 or trailer[:8] != FOOTER_MAGIC or crc32c(trailer[:60]) != struct.unpack_from("<I", trailer, 60)[0]:
            raise ValueError("trailer")
        offset, length, id, self.frontier, self.end_lsn, heads_crc, count = struct.unpack_from("<5QII", trailer, 8)
        if id != file.id or offset != 512 + self.end_lsn - file.first_lsn or offset + length != len(raw):
            raise ValueError("trailer of another file or place")
        self.sections, heads, at = {}, b"", offset
        for _ in range(count):
            type, crc, size = struct.unpack_from("<IIQ", raw, at)
            body, padded = raw[at + 16:at + 16 + size], (size + 7) // 8 * 8
            if at + 16 + padded > len(raw) - 64 or crc32c(body) != crc or any(raw[at + 16 + size:at + 16 + padded]) or type in self.sections:
                raise ValueError("section %d" % type)
            heads += raw[at:at + 16]
            self.sections[type] = body
            at += 16 + padded
        if at != len(raw) - 64 or crc32c(heads) != heads_crc or not {1, 2, 3, 4, 5} <= set(self.sections):
            raise ValueError("sections")

    def _elements(self, body, layout):
        size = struct.calcsize(layout)
        if len(body) % size:
            raise ValueError("elements")
        for at in range(0, len(body), size):
            element = body[at:at + size]
            if self.crc32c(struct.pack("<Q", self.file.id) + element[:-4]) != struct.unpack_from("<I", element, size - 4)[0]:
                raise ValueError("CRC of an element")
            yield struct.unpack(layout, element)[:-1]

    def extents(self):
        return [e[:11] for e in self._elements(self.sections[self.EXTENTS], "<QQQqQIIIIBBHI")]

    def topics(self):
        return [t[:9] for t in self._elements(self.sections[self.TOPICS], "<QQQQQQqIIII")]

    def keys(self):
        return list(self._elements(self.sections[self.KEYS], "<16sQQQqII"))

    def tags(self):
        """(topic, tag, seq, bytes) in their order."""
        body = self.sections[self.TAGS]
        topics, count, size = next(self._elements(body[:24], "<IIIQI"))[:3]
        directory, elements = body[24:24 + topics * 24], body[24 + topics * 24:24 + topics * 24 + count * 24]
        tags = body[24 + (topics + count) * 24:]
        if len(tags) != size:
            raise ValueError("tags")
        records, found = list(self._elements(elements, "<QIIII")), []
        for topic, first, number, _ in self._elements(directory, "<QIIII"):
            if first != len(found):
                raise ValueError("directory of tags")
            found += [(topic, tags[at:at + length], seq, size) for seq, size, length, at in records[first:first + number]]
        if len(found) != count:
            raise ValueError("records of tags")
        return found

    def controls(self):
        """(LSN, ts, offset, type, entry) in their order."""
        body, at, found = self.sections[self.CONTROLS], 0, []
        while at < len(body):
            lsn, ts, offset, crc, kind, _, length = struct.unpack_from("<QqIIHHI", body, at)
            entry = body[at + 24:at + 24 + length]
            if length < 8 or len(entry) != length or self.crc32c(struct.pack("<Q", self.file.id) + body[at:at + 20] + entry) != crc:
                raise ValueError("control entry")
            found.append((lsn, ts, offset, kind, entry))
            at += 24 + length
        return found

    def differences(self, frames):
        """What of it does not agree with these frames: all of the file up to its end, in order."""
        extents, controls, tags, keyed = [], [], [], []
        for frame in frames:
            for kind, flags, offset, entry in self._entries(frame):
                if kind == BATCH:
                    topic, first, count, at, length, _, key, _, live, durability, payload = struct.unpack_from("<QQIIIIIIIB3xQ", entry, 8)
                    extents.append((topic, first, frame.lsn, frame.ts, payload, count, live, frame.length, offset, durability, flags))
                    tags += [(topic, tag, first + i, size) for i, (tag, size) in enumerate(self._tags_of(frame, at, length)) if tag is not None]
                    if key:
                        keyed.append((topic, frame.lsn, first, frame.ts, count))
                elif kind not in (ANSWER, SYNC_MARK):
                    controls.append((frame.lsn, frame.ts, offset, kind, entry))
        wrong = []
        if sorted(extents) != self.extents():
            wrong.append("extents")
        if controls != self.controls():
            wrong.append("control entries")
        if sorted(tags) != self.tags():
            wrong.append("tags")
        keys = self.keys()
        if sorted(k[1:] for k in keys) != sorted(keyed) or keys != sorted(keys):
            wrong.append("keys")
        if self._sums(sorted(extents)) != self.topics():
            wrong.append("topics")
        return wrong

    def _raw(self, frame):
        at = 512 + frame.lsn - self.file.first_lsn
        return self.file.bytes[at:at + frame.length]

    def _entries(self, frame):
        """(type, flags, offset in the frame, bytes) of each entry."""
        raw, at = self._raw(frame), 96
        for kind, flags, body in frame.entries:
            yield kind, flags, at, raw[at:at + 8 + len(body)]
            at += 8 + len(body)

    def _tags_of(self, frame, offset, length):
        """(tag or None, bytes of data and meta) of each record of an area."""
        raw, at = self._raw(frame), offset
        while at < offset + length:
            size, _, data, meta, tag, _, _, flags = struct.unpack_from("<8I", raw, at)
            yield (raw[at + 32 + data + meta:at + 32 + data + meta + tag] if flags & 1 else None), data + meta
            at += size

    @staticmethod
    def _sums(extents):
        found = []
        for i, (topic, first, lsn, ts, payload, count, live, *_) in enumerate(extents):
            last = first + count - 1
            if found and found[-1][0] == topic:
                t = found[-1]
                found[-1] = (topic, t[1], last, t[3] + live, t[4] + payload, max(t[5], lsn), max(t[6], ts), t[7], t[8] + 1)
            else:
                found.append((topic, first, last, live, payload, lsn, ts, i, 1))
        return found
