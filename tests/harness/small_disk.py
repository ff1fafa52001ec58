"""A small ext4 of its own that can be filled up: an image in a temporary folder, mounted through a loop device. Needs root: SmallDisk.available()."""

import errno
import os
import shutil
import subprocess
import tempfile
import time

PIECE = 64 << 10


class SmallDisk:
    @staticmethod
    def available():
        return os.geteuid() == 0 and os.path.exists("/dev/loop-control") and shutil.which("mkfs.ext4", path="/usr/sbin:/sbin:/usr/bin:/bin") is not None

    def __init__(self, size=24 << 20):
        self.root = tempfile.mkdtemp(prefix="topics-small-")
        self.image, self.path = os.path.join(self.root, "image"), os.path.join(self.root, "disk")
        self.ballast = os.path.join(self.path, "ballast")
        self.mounted = False
        os.mkdir(self.path)
        os.chmod(self.root, 0o755)
        try:
            with open(self.image, "wb") as f:
                f.truncate(size)
            self.run("mkfs.ext4", "-q", "-m", "0", self.image)
            self.run("mount", "-o", "loop", self.image, self.path)
            self.mounted = True
            os.chmod(self.path, 0o755)
        except BaseException:
            self.close()
            raise

    @staticmethod
    def run(*command):
        env = dict(os.environ, PATH="/usr/sbin:/sbin:/usr/bin:/bin")
        done = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode:
            raise OSError("%s: %s" % (" ".join(command), done.stdout.decode("utf-8", "replace")))

    def fill(self):
        """To the last block."""
        with open(self.ballast, "ab", buffering=0) as f:
            for size in (PIECE, 1024):
                try:
                    while True:
                        f.write(b"\1" * size)
                except OSError as problem:
                    if problem.errno != errno.ENOSPC:
                        raise
            os.fsync(f.fileno())

    def empty(self):
        os.unlink(self.ballast)

    def close(self):
        deadline = time.monotonic() + 20
        while self.mounted:
            try:
                self.run("umount", self.path)
                self.mounted = False
            except OSError:  # processes that were killed let go of it a moment later
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
        shutil.rmtree(self.root, ignore_errors=True)
