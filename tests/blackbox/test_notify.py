#!/usr/bin/env python3
"""sd_notify: what a service manager hears of a start, a recovery and a stop."""

import os
import shutil
import signal
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness import cases  # noqa: E402
from harness.cases import case, same, truth  # noqa: E402
from harness.manager import Manager  # noqa: E402
from harness.server import Server, topicsd_path, until  # noqa: E402


GATED = """#!/bin/sh
while [ ! -e %s ]; do sleep 0.01; done
exec %s
"""


def gated_programs(root):
    """A folder of programs whose logd begins only when the gate is there: its recovery takes as long as a case wants."""
    build = os.path.dirname(os.path.dirname(topicsd_path()))
    gate = os.path.join(root, "gate")
    programs = os.path.join(root, "programs")
    os.mkdir(programs)
    for folder, name in (("supervisor", "topicsd"), ("worker", "topics-worker")):
        # A copy and no link: topicsd looks for the others beside the file that it is.
        with open(os.path.join(build, folder, name), "rb") as source, open(os.path.join(programs, name), "wb") as copy:
            copy.write(source.read())
        os.chmod(os.path.join(programs, name), 0o755)
    with open(os.path.join(programs, "topics-logd"), "w") as script:
        script.write(GATED % (gate, os.path.join(build, "logd", "topics-logd")))
    os.chmod(os.path.join(programs, "topics-logd"), 0o755)
    os.chmod(root, 0o755)
    return os.path.join(programs, "topicsd"), gate


def with_manager(body, abstract=False):
    root = tempfile.mkdtemp(prefix="topics-notify-")
    manager = Manager("@" + root[1:] if abstract else os.path.join(root, "notify"))
    server = Server(settings={"NOTIFY_SOCKET": manager.name})
    try:
        body(server, manager, root)
    finally:
        manager.socket.close()
        shutil.rmtree(root)
        server.close()


def life_of_a_server(server, manager, _):
    server.start()
    lines = manager.hear_until("READY=1")
    truth(lines[0].startswith("STATUS=recovering the log"), "first words %r" % lines)
    same(lines.count("READY=1"), 1, "times it said ready")
    same(lines[-1], "STATUS=ready", "last words of the start")
    server.process.send_signal(signal.SIGTERM)
    same(manager.hear_until("STOPPING=1"), ["STOPPING=1"], "words at the stop")
    same(server.process.wait(20), 0, "exit status")
    same(manager.silent(), None, "words after it")


@case
def manager_at_a_path_hears_recovery_readiness_and_stop(_):
    with_manager(life_of_a_server)


@case
def manager_at_an_abstract_name_hears_the_same(_):
    with_manager(life_of_a_server, abstract=True)


@case
def ready_is_said_only_when_the_recovery_is_done(_):
    def body(server, manager, root):
        server.program, gate = gated_programs(root)
        server.spawn()
        until(lambda: os.path.exists(server.port_file), what="the port file")
        with open(server.port_file) as f:
            server.port = int(f.read().strip().rpartition(":")[2])
        truth(manager.hear()[0].startswith("STATUS=recovering the log"), "status")
        until(lambda: answers(server) == 503, what="a worker that answers")
        same(manager.silent(), None, "words while the log is not recovered")
        open(gate, "w").close()
        truth("READY=1" in manager.hear_until("READY=1"), "ready")
        until(lambda: answers(server) == 200, what="readiness")
    with_manager(body)


def answers(server):
    try:
        return server.call("GET", "/v0/ready", timeout=5).status
    except OSError:
        return 0


@case
def the_death_of_logd_is_a_recovery_again(_):
    def body(server, manager, _):
        server.start()
        manager.hear_until("READY=1")
        first = server.logd()
        os.kill(first, signal.SIGKILL)
        lines = manager.hear_until("READY=1")
        truth(lines[0].startswith("STATUS=recovering the log"), "words after the death %r" % lines)
        same(lines[-1], "STATUS=ready", "last words")
    with_manager(body)


@case
def a_manager_that_is_gone_or_does_not_read_changes_nothing(_):
    def body(server, manager, _):
        manager.socket.close()
        server.start()
        same(server.stop(), 0, "exit status")
    with_manager(body)


if __name__ == "__main__":
    sys.exit(cases.main(lambda: None))
