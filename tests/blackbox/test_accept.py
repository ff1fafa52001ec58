#!/usr/bin/env python3
"""Connections and who takes them."""

import os
import signal
import socket
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness import cases  # noqa: E402
from harness.cases import case, same, truth  # noqa: E402
from harness.server import Server, until  # noqa: E402

REQUEST = b"GET /v0/health HTTP/1.1\r\nHost: t\r\n\r\n"


def connections_of(pid):
    """Established TCP sockets among the process's descriptors."""
    with open("/proc/%d/net/tcp" % pid) as f:
        established = {line.split()[9] for line in f.readlines()[1:] if line.split()[3] == "01"}
    count = 0
    for fd in os.listdir("/proc/%d/fd" % pid):
        try:
            name = os.readlink("/proc/%d/fd/%s" % (pid, fd))
        except OSError:
            continue
        count += name.startswith("socket:[") and name[8:-1] in established
    return count


def connect(server, n):
    return [socket.create_connection(("127.0.0.1", server.port), timeout=20) for _ in range(n)]


def answered(links):
    for link in links:
        link.sendall(REQUEST)
    for link in links:
        truth(link.recv(4096).startswith(b"HTTP/1.1 200 "), "an answer on every connection")


@case
def many_connections_are_shared_among_the_workers(server):
    links = connect(server, 60)
    answered(links)
    shares = [connections_of(pid) for pid in server.workers()]
    same(sum(shares), 60, "connections of all workers")
    truth(min(shares) >= 15, "shares %r" % shares)
    for link in links:
        link.close()
    until(lambda: sum(connections_of(pid) for pid in server.workers()) == 0, what="all closed")


@case
def while_one_worker_stands_still_the_other_takes_all(server):
    still, other = server.workers()
    os.kill(still, signal.SIGSTOP)
    try:
        links = connect(server, 60)
        answered(links)
        same(connections_of(other), 60, "connections of the one that runs")
    finally:
        os.kill(still, signal.SIGCONT)
    for link in links:
        link.close()


if __name__ == "__main__":
    sys.exit(cases.main(lambda: Server(settings={"TOPICS_WORKERS": "2"}).start(), lambda server: server.close()))
