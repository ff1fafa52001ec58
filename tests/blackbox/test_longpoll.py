#!/usr/bin/env python3
"""Long polls: when they wait, and what ends a wait. What takes longer than a wait would is told from what does not by waits of 20 s and more."""

import os
import resource
import signal
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness import cases  # noqa: E402
from harness.api import append, diff, fresh, refused  # noqa: E402
from harness.cases import case, same, truth  # noqa: E402
from harness.counters import counter  # noqa: E402
from harness.raw import Raw, post, request  # noqa: E402
from harness.server import Server, until  # noqa: E402

LONG = 25000  # ms
PROMPT = 10.0  # s: far below LONG, far above what a busy machine needs


class Poll(threading.Thread):
    """A diff on its way; begun() once it waits."""

    def __init__(self, s, topic, records=False, **question):
        super().__init__(daemon=True)
        self.s, self.topic, self.records, self.question = s, topic, records, question
        self.answer, self.took, self.before = None, None, counter(s, "long_polls")
        self.start()

    def run(self):
        began = time.monotonic()
        if self.records:
            query = "&".join("%s=%s" % item for item in self.question.items())
            self.answer = self.s.call("GET", "/v0/topics/%s/records?%s" % (self.topic, query), timeout=60)
        else:
            self.answer = self.s.call("POST", "/v0/topics/%s/diff" % self.topic, self.question, timeout=60)
        self.took = time.monotonic() - began

    def begun(self):
        until(lambda: counter(self.s, "long_polls") > self.before, what="a waiting poll")
        return self

    def ended(self, prompt=True):
        self.join(60)
        truth(self.answer is not None, "the poll was never answered")
        truth(not prompt or self.took < PROMPT, "answered after %.1f s" % (self.took or 0))
        return self.answer


def stamp(s, name):
    s.call("PUT", "/v0/topics/" + name, {})
    return name


@case
def a_record_ends_the_wait_of_diff_and_of_records(s):
    name = stamp(s, fresh())
    for records in (False, True):
        head = diff(s, name)["head_seq"]
        poll = Poll(s, name, records, from_seq=head, wait_ms=LONG).begun()
        append(s, name, "x")
        page = poll.ended().json
        same(([r["$seq"] for r in page["records"]], page["caught_up"], page["next_from_seq"]), ([head + 1], True, head + 1), "page")
    same(counter(s, "long_polls"), 0, "polls that wait")


@case
def a_wait_that_nothing_ends_is_answered_empty_at_its_deadline(s):
    name = stamp(s, fresh())
    append(s, name, 1)
    other = stamp(s, fresh())
    for records in (False, True):
        poll = Poll(s, name, records, from_seq=1, wait_ms=400).begun()
        append(s, other, 1)
        page = poll.ended().json
        same((page["records"], page["caught_up"], page["next_from_seq"], page["lag"], page["tombstone"]), ([], True, 1, 0, None), "page")
        truth(poll.took >= 0.39, "answered before its deadline, after %.3f s" % poll.took)
        truth(page["performance"]["server_total_ms"] >= 390, "the wait counts")


@case
def what_there_is_to_say_is_said_at_once(s):
    name = stamp(s, fresh())
    refused(Poll(s, fresh(), from_seq=0, wait_ms=LONG).ended(), 404, "topic_not_found")
    append(s, name, 1, 2)
    same(len(Poll(s, name, wait_ms=LONG).ended().json["records"]), 2, "records")
    same(Poll(s, name, from_seq=1, limit=1, wait_ms=LONG).ended().json["records"][0]["$seq"], 2, "the last")
    same(Poll(s, name, from_seq=7, wait_ms=LONG).ended().json["tombstone"]["reason"], "recreated", "beyond the head")
    same(Poll(s, name, from_seq=2, epoch="0" * 16, wait_ms=LONG).ended().json["tombstone"]["reason"], "recreated", "another epoch")
    refused(Poll(s, name, from_seq=2, wait_ms=-1).ended(), 400, "invalid_request")


@case
def any_number_of_milliseconds_is_taken_and_cut_to_thirty_seconds(s):
    name = stamp(s, fresh())
    for wait in (30000, 30001, 2 ** 64 - 1):
        poll = Poll(s, name, from_seq=diff(s, name)["head_seq"], wait_ms=wait).begun()
        append(s, name, wait)
        same(len(poll.ended().json["records"]), 1, "records after a wait of %d" % wait)


@case
def a_topic_that_is_deleted_ends_the_wait_with_404(s):
    name = stamp(s, fresh())
    poll = Poll(s, name, wait_ms=LONG).begun()
    s.call("DELETE", "/v0/topics/" + name)
    refused(poll.ended(), 404, "topic_not_found")


@case
def a_topic_that_is_deleted_and_made_again_ends_the_waits_of_the_old_one(s):
    name = stamp(s, fresh())
    for again in range(20):
        polls = [Poll(s, name, wait_ms=LONG)]
        polls[0].begun()
        s.call("DELETE", "/v0/topics/" + name)
        s.call("PUT", "/v0/topics/" + name, {})
        refused(polls[0].ended(), 404, "topic_not_found")
    poll = Poll(s, name, wait_ms=LONG).begun()
    append(s, name, 1)
    same(len(poll.ended().json["records"]), 1, "the new one's records")


@case
def an_append_that_is_filtered_away_moves_the_cursor(s):
    name = stamp(s, fresh())
    poll = Poll(s, name, wait_ms=LONG, node="me").begun()
    s.call("POST", "/v0/topics/" + name, {"node": "me", "records": [{"data": 1}, {"data": 2}]})
    page = poll.ended().json
    same((page["records"], page["next_from_seq"], page["caught_up"]), ([], 2, True), "page")


@case
def a_configuration_or_a_sync_ends_no_wait(s):
    name = stamp(s, fresh())
    poll = Poll(s, name, wait_ms=1500, from_seq=1)
    append(s, name, 1)
    poll.ended()
    poll = Poll(s, name, wait_ms=1500, from_seq=1).begun()
    s.call("PATCH", "/v0/topics/" + name, {"priority": 5})
    until(lambda: s.call("GET", "/v0/topics/" + name).json["durable_seq"] == 1, what="the sync")
    page = poll.ended().json
    same(page["records"], [], "records")
    truth(poll.took >= 1.49, "it ended after %.2f s" % poll.took)


@case
def a_waiting_poll_holds_back_what_follows_on_its_connection_alone(s):
    name = stamp(s, fresh())
    link = Raw(s.port, 60)
    before = counter(s, "long_polls")
    link.send(post("/v0/topics/%s/diff" % name, '{"wait_ms": %d}' % LONG), request("GET", "/v0/health"))
    until(lambda: counter(s, "long_polls") > before, what="a waiting poll")
    same(s.call("GET", "/v0/health").status, 200, "another connection")
    append(s, name, "now")
    first, second = link.answer(), link.answer()
    truth(b'"now"' in first[2] and b"uptime_ms" in second[2], "answers in order: %r %r" % (first, second))
    link.close()


@case
def a_client_that_closes_frees_its_waiter_and_one_that_half_closes_is_answered(s):
    name = stamp(s, fresh())
    ask = post("/v0/topics/%s/diff" % name, '{"wait_ms": %d}' % LONG)
    links = [Raw(s.port, 60) for _ in range(20)]
    for link in links:
        link.send(ask)
    until(lambda: counter(s, "long_polls") == 20, what="20 waiting polls")
    open_then = counter(s, "connections")
    for link in links[:19]:
        link.close()
    until(lambda: counter(s, "long_polls") == 1, what="the waiters to be gone")
    until(lambda: counter(s, "connections") == open_then - 19, what="the connections to be gone")
    links[19].socket.shutdown(1)
    status, _, body = links[19].answer()
    same((status, b'"records":[]' in body), (200, True), "answer to the half-closed")
    truth(links[19].closed(), "then it is closed")
    same(counter(s, "long_polls"), 0, "waiters")


@case
def a_stop_cuts_waits_short_with_what_there_is(_):
    s = Server().start()
    try:
        name = stamp(s, fresh())
        append(s, name, 1)
        polls = [Poll(s, name, from_seq=1, wait_ms=LONG) for _ in range(8)]
        until(lambda: counter(s, "long_polls") == 8, what="8 waiting polls")
        same(s.stop(), 0, "exit status")
        for poll in polls:
            answer = poll.ended()
            same((answer.status, answer.json["records"], answer.json["caught_up"], answer.headers.get("connection")), (200, [], True, "close"), "answer")
    finally:
        s.close()


@case
def a_new_log_process_ends_no_wait_and_loses_none(_):
    s = Server().start()
    try:
        name, other = stamp(s, fresh()), stamp(s, fresh())
        append(s, name, 1)
        poll, quiet = Poll(s, name, from_seq=1, wait_ms=LONG), Poll(s, other, wait_ms=6000)
        until(lambda: counter(s, "long_polls") == 2, what="2 waiting polls")
        logd = s.logd()
        os.kill(logd, signal.SIGKILL)
        until(lambda: s.logd() != logd, what="another logd")
        same(append(s, name, 2).status, 200, "append")
        same([r["$seq"] for r in poll.ended().json["records"]], [2], "what came after the death")
        same(quiet.ended(prompt=False).json["records"], [], "the quiet topic")
        truth(quiet.took >= 5.9, "it waited on: %.1f s" % quiet.took)
    finally:
        s.close()


@case
def workers_are_woken_for_a_record_and_do_not_come_by_chance(s):
    """A worker looks at the feed every 250 ms in any case: the median of waits that end by a wake-up is far below what that gives."""
    name = stamp(s, fresh())
    links, lags = [Raw(s.port, 60) for _ in range(32)], []
    for head in range(21):
        for link in links:
            link.send(post("/v0/topics/%s/diff" % name, '{"from_seq": %d, "wait_ms": %d}' % (head, LONG)))
        until(lambda: counter(s, "long_polls") == len(links), what="waiting polls")
        append(s, name, head)
        began = time.monotonic()
        for link in links:
            same(link.answer()[0], 200, "status")
        lags.append(time.monotonic() - began)
    for link in links:
        link.close()
    truth(sorted(lags)[10] < 0.06, "half of the waits ended later than %.0f ms" % (1000 * sorted(lags)[10]))


def cpu_seconds(pids):
    total = 0
    for pid in pids:
        with open("/proc/%d/stat" % pid) as f:
            fields = f.read().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


@case
def ten_thousand_waiting_clients_take_no_cpu_and_one_append_answers_them_all(_):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    clients = min(10000, hard - 500)
    s = Server().start()
    links = []
    try:
        name = stamp(s, fresh())
        append(s, name, "first")
        others = [stamp(s, fresh()) for _ in range(20)]
        for i in range(clients):
            link = Raw(s.port, 60)
            topic = name if i % 2 == 0 else others[i % 20]
            link.send(post("/v0/topics/%s/diff" % topic, '{"from_seq": %d, "wait_ms": 30000}' % (topic == name)))
            links.append(link)
        until(lambda: counter(s, "long_polls") == clients, what="%d waiting polls" % clients)
        workers = s.workers()
        began, before = time.monotonic(), cpu_seconds(workers)
        time.sleep(2)  # the measurement
        used = (cpu_seconds(workers) - before) / (time.monotonic() - began)
        truth(used < 0.03, "workers with %d waiting clients use %.1f %% of a CPU" % (clients, 100 * used))
        append(s, name, "woken")
        for i in range(0, clients, 2):
            status, _, body = links[i].answer()
            truth(status == 200 and b'"woken"' in body, "client %d: %d %r" % (i, status, body[:200]))
        same(counter(s, "long_polls"), clients - len(range(0, clients, 2)), "the others wait on")
    finally:
        for link in links:
            link.close()
        s.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


if __name__ == "__main__":
    sys.exit(cases.main(lambda: Server().start(), lambda server: server.close()))
