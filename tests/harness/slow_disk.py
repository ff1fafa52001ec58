"""A directory on a device that does as it is told: a FUSE file system that hands everything through to another directory, spoken straight over /dev/fuse. Reads of log files through
descriptors that are open for reading alone (the workers') can be held, or fail.

    disk = SlowDisk(); ... disk.path ...; disk.hold(); disk.held() ; disk.release(); disk.fail(); disk.close()

Needs a /dev/fuse that may be used (root): SlowDisk.available()."""

import ctypes
import errno
import os
import shutil
import struct
import tempfile
import threading

LIBC = ctypes.CDLL(None, use_errno=True)
HEAD, OUT = struct.Struct("<IIQQIIIHH"), struct.Struct("<IiQ")
MAX_WRITE = 128 * 1024
DIRECT_IO = 1
NO_ANSWER = object()


def attributes(st):
    return struct.pack("<QQQQQQIIIIIIIIII", st.st_ino, st.st_size, st.st_blocks, int(st.st_atime), int(st.st_mtime), int(st.st_ctime), 0, 0, 0,
                       st.st_mode, st.st_nlink, st.st_uid, st.st_gid, st.st_rdev, 4096, 0)


def text(raw):
    return raw.split(b"\0")[0].decode()


class Handle:
    def __init__(self, fd, slow):
        self.fd, self.slow = fd, slow


class SlowDisk:
    @staticmethod
    def available():
        return os.geteuid() == 0 and os.access("/dev/fuse", os.R_OK | os.W_OK)

    def __init__(self):
        self.root = tempfile.mkdtemp(prefix="topics-slow-")
        self.backing, self.path = os.path.join(self.root, "backing"), os.path.join(self.root, "disk")
        os.mkdir(self.backing)
        os.mkdir(self.path)
        os.chmod(self.root, 0o755)
        self.paths, self.nodes, self.handles, self.last_node, self.last_handle = {1: ""}, {"": 1}, {}, 1, 0
        self.lock, self.open_again = threading.Condition(), True
        self.failing, self.held_now, self.reads = None, 0, 0
        self.fuse = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        options = "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other" % self.fuse
        if LIBC.mount(b"topics-slow", self.path.encode(), b"fuse", 0, options.encode()) != 0:
            raise OSError(ctypes.get_errno(), "mount")
        self.calls = {1: self.lookup, 3: self.getattr, 4: self.setattr, 9: self.mkdir, 10: self.unlink, 11: self.rmdir, 12: self.rename, 45: self.rename2, 14: self.open,
                      15: self.read, 16: self.write, 17: self.statfs, 18: self.close_handle, 20: self.sync, 25: self.nothing, 26: self.init, 27: self.opendir,
                      28: self.readdir, 29: self.close_handle, 30: self.nothing, 35: self.create, 43: self.allocate, 2: self.forget, 42: self.forget, 36: self.forget}
        self.threads = [threading.Thread(target=self.serve, daemon=True) for _ in range(12)]
        for thread in self.threads:
            thread.start()

    # ---- what a test says ----

    def hold(self):
        with self.lock:
            self.open_again = False

    def held(self):
        return self.held_now

    def release(self):
        with self.lock:
            self.open_again = True
            self.lock.notify_all()

    def fail(self, place):
        """place(file name, offset, size): True where the disk does not deliver; None: everywhere it does."""
        self.failing = place

    def close(self):
        self.failing = None
        self.release()
        LIBC.umount2(self.path.encode(), 2)
        for thread in self.threads:  # before the descriptor's number can mean something else
            thread.join(30)
        os.close(self.fuse)
        shutil.rmtree(self.root, ignore_errors=True)

    # ---- requests ----

    def serve(self):
        while True:
            try:
                request = os.read(self.fuse, MAX_WRITE + 65536)
            except OSError as problem:
                if problem.errno in (errno.EINTR, errno.ENOENT, errno.EAGAIN):
                    continue
                return
            if len(request) < HEAD.size:  # unmounted
                return
            length, code, unique, node, _, _, _, _, _ = HEAD.unpack_from(request)
            error, answer = 0, b""
            try:
                call = self.calls.get(code)
                if call is None:
                    raise OSError(errno.ENOSYS, "")
                answer = call(node, request[HEAD.size:length])
            except OSError as problem:
                error = -(problem.errno or errno.EIO)
            except KeyError:  # a name that has gone
                error = -errno.ENOENT
            if answer is NO_ANSWER:
                continue
            try:
                os.write(self.fuse, OUT.pack(OUT.size + len(answer if error == 0 else b""), error, unique) + (answer if error == 0 else b""))
            except OSError:
                pass  # the asker is gone

    def real(self, node, name=None):
        path = self.paths[node]
        return os.path.join(self.backing, path, name) if name is not None else os.path.join(self.backing, path)

    def entry(self, node, name):
        st = os.lstat(self.real(node, name))
        path = os.path.join(self.paths[node], name)
        with self.lock:
            if path not in self.nodes:
                self.last_node += 1
                self.nodes[path], self.paths[self.last_node] = self.last_node, path
            return struct.pack("<QQQQII", self.nodes[path], 0, 0, 0, 0, 0) + attributes(st)

    def init(self, node, body):
        return struct.pack("<IIIIHHIIHHI28x", 7, 31, 65536, 1 | 1 << 5, 64, 48, MAX_WRITE, 1, 32, 0, 0)

    def lookup(self, node, body):
        return self.entry(node, text(body))

    def forget(self, node, body):
        return NO_ANSWER

    def nothing(self, node, body):
        return b""

    def getattr(self, node, body):
        flags, _, handle = struct.unpack_from("<IIQ", body)
        st = os.fstat(self.handles[handle].fd) if flags & 1 and handle in self.handles else os.lstat(self.real(node))
        return struct.pack("<QII", 0, 0, 0) + attributes(st)

    def setattr(self, node, body):
        valid, _, _, size = struct.unpack_from("<IIQQ", body)
        mode, _, uid, gid = struct.unpack_from("<IIII", body, 68)
        path = self.real(node)
        if valid & 8:
            os.truncate(path, size)
        if valid & 1:
            os.chmod(path, mode & 0o7777)
        if valid & 6:
            os.chown(path, uid if valid & 2 else -1, gid if valid & 4 else -1)
        return self.getattr(node, struct.pack("<IIQ", 0, 0, 0))

    def mkdir(self, node, body):
        os.mkdir(self.real(node, text(body[8:])), struct.unpack_from("<I", body)[0] & 0o7777)
        return self.entry(node, text(body[8:]))

    def gone(self, node, name):
        with self.lock:
            self.paths.pop(self.nodes.pop(os.path.join(self.paths[node], name), None), None)
        return b""

    def unlink(self, node, body):
        os.unlink(self.real(node, text(body)))
        return self.gone(node, text(body))

    def rmdir(self, node, body):
        os.rmdir(self.real(node, text(body)))
        return self.gone(node, text(body))

    def rename2(self, node, body):
        return self.rename(node, body[:8] + body[16:])

    def rename(self, node, body):
        to = struct.unpack_from("<Q", body)[0]
        old, new = [part.decode() for part in body[8:].split(b"\0")[:2]]
        os.rename(self.real(node, old), self.real(to, new))
        with self.lock:
            number = self.nodes.pop(os.path.join(self.paths[node], old), None)
            path = os.path.join(self.paths[to], new)
            self.paths.pop(self.nodes.pop(path, None), None)
            if number is not None:
                self.nodes[path], self.paths[number] = number, path
        return b""

    def keep(self, fd, slow):
        with self.lock:
            self.last_handle += 1
            self.handles[self.last_handle] = Handle(fd, slow)
            return struct.pack("<QII", self.last_handle, DIRECT_IO if slow else 0, 0)

    def open(self, node, body):
        flags = struct.unpack_from("<I", body)[0] & ~(os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW)
        name = os.path.basename(self.paths[node])
        slow = name[:1] in ("w", "s") and flags & os.O_ACCMODE == os.O_RDONLY
        return self.keep(os.open(self.real(node), flags), name if slow else None)

    def opendir(self, node, body):
        return self.keep(os.open(self.real(node), os.O_RDONLY), None)

    def create(self, node, body):
        flags, mode = struct.unpack_from("<II", body)
        name = text(body[16:])
        fd = os.open(self.real(node, name), flags | os.O_CREAT, mode & 0o7777)
        return self.entry(node, name) + self.keep(fd, None)

    def close_handle(self, node, body):
        with self.lock:
            handle = self.handles.pop(struct.unpack_from("<Q", body)[0], None)
        if handle is not None:
            os.close(handle.fd)
        return b""

    def read(self, node, body):
        number, offset, size = struct.unpack_from("<QQI", body)
        handle = self.handles[number]
        if handle.slow:
            with self.lock:
                self.reads += 1
                self.held_now += 1
                while not self.open_again:
                    self.lock.wait()
                self.held_now -= 1
            if self.failing is not None and self.failing(handle.slow, offset, size):
                raise OSError(errno.EIO, "told to")
        return os.pread(handle.fd, size, offset)

    def write(self, node, body):
        number, offset, size = struct.unpack_from("<QQI", body)
        return struct.pack("<II", os.pwrite(self.handles[number].fd, body[40:40 + size], offset), 0)

    def sync(self, node, body):
        os.fdatasync(self.handles[struct.unpack_from("<Q", body)[0]].fd)
        return b""

    def allocate(self, node, body):
        number, offset, length, mode = struct.unpack_from("<QQQI", body)
        if LIBC.fallocate(self.handles[number].fd, mode, ctypes.c_long(offset), ctypes.c_long(length)) != 0:
            raise OSError(ctypes.get_errno(), "fallocate")
        return b""

    def statfs(self, node, body):
        st = os.statvfs(self.backing)
        return struct.pack("<QQQQQIIII24x", st.f_blocks, st.f_bfree, st.f_bavail, st.f_files, st.f_ffree, st.f_bsize, 255, st.f_frsize, 0)

    def readdir(self, node, body):
        _, offset, size = struct.unpack_from("<QQI", body)
        out = b""
        for place, name in enumerate(sorted(os.listdir(self.real(node)))):
            one = struct.pack("<QQII", 1, place + 1, len(name), 0) + name.encode()
            one += b"\0" * (-len(one) % 8)
            if place < offset:
                continue
            if len(out) + len(one) > size:
                break
            out += one
        return out
