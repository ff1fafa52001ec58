#!/usr/bin/env python3
"""with_server.py TOPICSD COMMAND...: runs a command while a fresh server is up; @URL@ in it becomes the server's address."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time


def main():
    topicsd, command = sys.argv[1], sys.argv[2:]
    root = tempfile.mkdtemp(prefix="topics-")
    port_file = os.path.join(root, "port")
    env = {k: v for k, v in os.environ.items() if not k.startswith("TOPICS_")}
    env.update(TOPICS_PORT="0", TOPICS_PORT_FILE=port_file, TOPICS_DATA_DIR=os.path.join(root, "data"))
    with open(os.path.join(root, "log"), "wb") as log:
        server = subprocess.Popen([topicsd], env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 20
        while not os.path.exists(port_file):
            if server.poll() is not None or time.monotonic() > deadline:
                print(open(os.path.join(root, "log")).read())
                print("with_server: the server did not start", file=sys.stderr)
                return 1
            time.sleep(0.02)
        with open(port_file) as f:
            url = "http://" + f.read().strip()
        status = subprocess.call([word.replace("@URL@", url) for word in command], stdin=subprocess.DEVNULL)
        server.send_signal(signal.SIGTERM)
        return status or server.wait(20)
    finally:
        if server.poll() is None:
            server.kill()
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
