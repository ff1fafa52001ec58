#!/usr/bin/env python3
"""with_server.py TOPICSD COMMAND...: runs a command while a fresh server is up; @URL@ in it becomes the server's address."""

import os
import signal
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness.server import Server  # noqa: E402


def main():
    server = Server(program=sys.argv[1])
    try:
        server.start()
        status = subprocess.call([word.replace("@URL@", "http://127.0.0.1:%d" % server.port) for word in sys.argv[2:]], stdin=subprocess.DEVNULL)
        server.process.send_signal(signal.SIGTERM)
        return status or server.process.wait(20)
    finally:
        server.close()


if __name__ == "__main__":
    sys.exit(main())
