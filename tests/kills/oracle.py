"""What clients know: every ack with its bytes, every acked create, change and delete of a topic, every request whose outcome nobody knows; and the judgement
over what a server serves afterwards."""

import hashlib
import json
import threading


def digest(data):
    return hashlib.blake2b(data, digest_size=12).digest()


class Topic:
    """One incarnation of a name."""

    def __init__(self, name, durability, epoch):
        self.name, self.durability, self.epoch = name, durability, epoch
        self.acked = {}          # seq -> digest of the record's data as sent
        self.unknown = []        # batches (lists of digests) whose answer never came
        self.refused = set()     # digests of batches that were refused: they may not appear
        self.head = 0            # highest head that an ack has named
        self.floor = 0           # ephemeral: everything up to it went with a daemon's end
        self.config = {}
        self.lock = threading.Lock()

    def ack(self, answer, digests):
        with self.lock:
            for seq, value in zip(range(answer["first_seq"], answer["last_seq"] + 1), digests):
                old = self.acked.get(seq)
                if old is not None and old != value:
                    raise AssertionError("seq %d of %s was given to two records" % (seq, self.name))
                self.acked[seq] = value
            self.head = max(self.head, answer["last_seq"])

    def leave_unknown(self, digests):
        with self.lock:
            self.unknown.append(digests)


class Verdict:
    """The four figures, and what there is to say about them."""

    def __init__(self):
        self.acked_losses = self.silent_gaps = self.reused_seqs = self.false_tombstones = 0
        self.checked = 0
        self.problems = []

    def say(self, figure, text):
        setattr(self, figure, getattr(self, figure) + 1)
        if len(self.problems) < 20:
            self.problems.append("%s: %s" % (figure.replace("_", " "), text))

    def figures(self):
        return "figures: acked losses %d, silent gaps %d, reused seqs %d, false tombstones %d (%d acked records checked)" % (
            self.acked_losses, self.silent_gaps, self.reused_seqs, self.false_tombstones, self.checked)

    def bad(self):
        return self.acked_losses + self.silent_gaps + self.reused_seqs + self.false_tombstones > 0


def raw_records(body):
    """(seq, bytes of data) of each record of an answer, the bytes as they stand there."""
    decoder = json.JSONDecoder()
    text = body.decode()
    at = text.index('"records":[') + len('"records":[')
    records = []
    while text[at] != "]":
        if text[at] == ",":
            at += 1
        record, end = decoder.raw_decode(text, at)
        data_at = text.index('"data":', at) + len('"data":')
        _, data_end = decoder.raw_decode(text, data_at)
        records.append((record["$seq"], text[data_at:data_end].encode()))
        at = end
    return records


def read_all(call, name, limit=1000):
    """Every record (seq -> digest, in order) and every tombstone of a topic."""
    seen, order, graves, cursor = {}, [], [], 0
    while True:
        answer = call("POST", "/v0/topics/%s/diff" % name, {"from_seq": cursor, "limit": limit, "max_batch_bytes": 8 << 20})
        if answer.status != 200:
            raise AssertionError("diff of %s: %r" % (name, answer))
        page = answer.json
        if page["tombstone"]:
            graves.append(page["tombstone"])
        for seq, data in raw_records(answer.body):
            seen[seq] = digest(data)
            order.append(seq)
        if page["next_from_seq"] <= cursor and not page["caught_up"]:
            raise AssertionError("diff of %s does not get on at %d" % (name, cursor))
        cursor = page["next_from_seq"]
        if page["caught_up"]:
            return seen, order, graves, page["head_seq"]


def judge(topic, seen, order, graves, head, daemon_ended, verdict):
    """Holds what is served against what was acked. `daemon_ended`: ephemeral records up to the oracle's head may be gone, announced as `restart`."""
    where = "%s (%s)" % (topic.name, topic.durability)
    if order != sorted(set(order)):
        verdict.say("reused_seqs", "%s: seqs come twice or out of order" % where)
    buried = [(g["gap_from"], g["gap_to"], g["reason"]) for g in graves]
    ephemeral = topic.durability == "ephemeral"
    for first, last, reason in buried:
        if not (ephemeral and reason == "restart"):
            verdict.say("false_tombstones", "%s: %d to %d %s after a death of processes" % (where, first, last, reason))
    if ephemeral and daemon_ended:
        topic.floor = max([topic.floor] + [last for _, last, reason in buried if reason == "restart"])
    if head < topic.head:
        verdict.say("reused_seqs", "%s: head %d, but %d was acked" % (where, head, topic.head))
    for seq, value in topic.acked.items():
        if ephemeral and seq <= topic.floor:
            continue
        verdict.checked += 1
        if seen.get(seq) != value:
            verdict.say("acked_losses", "%s: seq %d is %s" % (where, seq, "missing" if seq not in seen else "other bytes"))
    at = 0
    for seq in order:
        for first, last, _ in sorted(buried):  # several tombstones may follow each other
            if first <= at + 1 <= last:
                at = last
        if seq > at + 1:
            verdict.say("silent_gaps", "%s: from %d to %d nothing is said" % (where, at + 1, seq - 1))
        at = seq
    judge_strangers(topic, seen, verdict, where)


def judge_strangers(topic, seen, verdict, where):
    """What was never acked may be there only as a whole batch that somebody sent, once, in its order."""
    strangers = [seq for seq in sorted(seen) if seq not in topic.acked]
    sent = {tuple(batch): False for batch in topic.unknown}
    firsts = {batch[0]: batch for batch in sent}
    i = 0
    while i < len(strangers):
        batch = firsts.get(seen[strangers[i]])
        seqs = strangers[i:i + len(batch)] if batch else []
        if not batch or tuple(seen[s] for s in seqs) != batch or seqs != list(range(seqs[0], seqs[0] + len(batch))) or sent[batch]:
            verdict.say("reused_seqs", "%s: seq %d holds something that nobody sent, half a batch, or one twice" % (where, strangers[i]))
            return
        sent[batch] = True
        i += len(batch)
    with topic.lock:
        # What has been found is as good as acked from now on: it may not go away again.
        for seq in strangers:
            topic.acked[seq] = seen[seq]
            topic.head = max(topic.head, seq)
        topic.unknown = [b for b in topic.unknown if not sent[tuple(b)]]
