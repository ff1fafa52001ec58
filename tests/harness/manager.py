"""A service manager, as far as it listens (sd_notify)."""

import socket


class Manager:
    """A service manager's end: datagrams at a path, or at an abstract name (with @)."""

    def __init__(self, name):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + name[1:] if name[0] == "@" else name)
        self.socket.settimeout(20)
        self.name = name

    def hear(self):
        return self.socket.recv(4096).decode().split("\n")

    def silent(self):
        self.socket.setblocking(False)
        try:
            return self.socket.recv(4096).decode()
        except BlockingIOError:
            return None
        finally:
            self.socket.settimeout(20)

    def hear_until(self, wanted):
        """Everything heard up to a datagram with this line, which is the last."""
        lines = []
        while wanted not in lines:
            lines += self.hear()
        return lines
