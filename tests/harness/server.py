"""A real topicsd with its children, on a free port and a directory of its own."""

import http.client
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import tempfile
import time


# What a sanitizer, a failed assertion or the C library writes when a process has done what it may not.
SANITIZER = re.compile(rb"^.*(?:ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|\w+Sanitizer has encountered|: runtime error: |: Assertion `|\*\*\* .* detected).*$", re.M)


def topicsd_path():
    path = os.environ.get("TOPICSD")
    if not path:
        here = os.path.dirname(os.path.abspath(__file__))
        path = os.path.join(here, "..", "..", "build", "supervisor", "topicsd")
    return os.path.abspath(path)


def until(condition, seconds=20.0, what="the condition"):
    """Polls with a deadline; returns what the condition returned."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError("%s did not hold within %.0f s" % (what, seconds))
        time.sleep(0.005)


def children_of(pid):
    try:
        with open("/proc/%d/task/%d/children" % (pid, pid)) as f:
            return [int(p) for p in f.read().split()]
    except OSError:
        return []


def name_of(pid):
    try:
        with open("/proc/%d/comm" % pid) as f:
            return f.read().strip()
    except OSError:
        return ""


class Server:
    def __init__(self, data=None, settings=None, options=(), most_files=None, environment=None, program=None):
        self.root = tempfile.mkdtemp(prefix="topics-test-")
        self.data = data or os.path.join(self.root, "data")
        self.settings = dict(settings or {})
        self.options = list(options)
        self.most_files = most_files  # RLIMIT_NOFILE of every process of it
        self.environment = dict(environment or {})
        self.program = program or topicsd_path()
        self.process = None
        self.port = None
        self.starts = 0
        self.log_path = os.path.join(self.root, "log")

    def spawn(self, **extra):
        self.starts += 1
        self.port_file = os.path.join(self.root, "port%d" % self.starts)
        env = {k: v for k, v in os.environ.items() if not k.startswith("TOPICS_")}
        env.update(TOPICS_PORT="0", TOPICS_PORT_FILE=self.port_file, TOPICS_DATA_DIR=self.data)
        env.update(self.environment)
        env.update({k: str(v) for k, v in self.settings.items()})
        env.update({k: str(v) for k, v in extra.items()})
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen([self.program] + self.options, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            start_new_session=True, preexec_fn=self._limit if self.most_files else None)
        return self

    def _limit(self):
        resource.setrlimit(resource.RLIMIT_NOFILE, (self.most_files, self.most_files))

    def start(self, **extra):
        self.spawn(**extra)

        def bound():
            if self.process.poll() is not None:
                raise AssertionError("topicsd ended with %s: %s" % (self.process.returncode, self.tail()))
            return os.path.exists(self.port_file)
        until(bound, what="the port file")
        with open(self.port_file) as f:
            self.port = int(f.read().strip().rpartition(":")[2])
        self.wait_ready()
        return self

    def wait_ready(self, seconds=30.0):
        def ready():
            if self.process.poll() is not None:
                raise AssertionError("topicsd ended with %s: %s" % (self.process.returncode, self.tail()))
            try:
                return self.call("GET", "/v0/ready", timeout=5).status == 200
            except (OSError, http.client.HTTPException):
                return False
        until(ready, seconds, "readiness (%s)" % self.tail())

    def tail(self, n=1500):
        try:
            with open(self.log_path, "rb") as f:
                return f.read()[-n:].decode("utf-8", "replace")
        except OSError:
            return ""

    # ---- processes ----
    def pids(self, name):
        return [p for p in children_of(self.process.pid) if name_of(p).startswith(name)]

    def logd(self):
        return until(lambda: (self.pids("topics-logd") or [None])[0], what="logd")

    def workers(self):
        return self.pids("topics-worker")

    def kill_all(self):
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait(20)

    def stop(self, seconds=20):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def reports(self):
        """What sanitizers have said of any of its processes."""
        try:
            with open(self.log_path, "rb") as f:
                text = f.read()
        except OSError:
            return b""
        found = SANITIZER.search(text)
        return text[found.start():found.start() + 4000] if found else b""

    def close(self):
        """Ends it; fails if a sanitizer has reported anything since its first start."""
        if self.process is not None and self.process.poll() is None:
            self.kill_all()
        reports = self.reports()
        shutil.rmtree(self.root, ignore_errors=True)
        if reports:
            raise AssertionError("a sanitizer's report: " + reports.decode("utf-8", "replace"))

    # ---- requests ----
    def call(self, method, path, document=None, headers=None, body=None, timeout=30):
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            return send(link, method, path, document, headers, body)
        finally:
            link.close()

    def link(self, timeout=30):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def code(self):
        return self.json["error"]["code"]

    def __repr__(self):
        return "%d %s" % (self.status, self.body[:300])


def send(link, method, path, document=None, headers=None, body=None):
    """One request on an http.client connection."""
    given = dict(headers or {})
    if document is not None:
        body = json.dumps(document).encode()
        given.setdefault("Content-Type", "application/json")
    link.request(method, path, body, given)
    answer = link.getresponse()
    return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
