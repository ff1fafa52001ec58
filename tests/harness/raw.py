"""Bytes to the server as they are, answers as they came."""

import re
import socket


class Raw:
    def __init__(self, port, timeout=10):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.got = b""

    def send(self, *pieces):
        for piece in pieces:
            self.socket.sendall(piece if isinstance(piece, bytes) else piece.encode())
        return self

    def _more(self):
        try:
            part = self.socket.recv(65536)
        except ConnectionResetError:
            part = b""
        self.got += part
        return part != b""

    def answer(self, head_only=False):
        """(status, headers, body) of the next answer; None when the server has closed."""
        while b"\r\n\r\n" not in self.got:
            if not self._more():
                return None
        head, _, rest = self.got.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        status = int(re.match(r"HTTP/1\.1 (\d{3}) ", lines[0]).group(1))
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        length = 0 if head_only or status in (100, 204, 304) else int(headers.get("content-length", 0))
        while len(rest) < length:
            if not self._more():
                return None
            _, _, rest = self.got.partition(b"\r\n\r\n")
        self.got = rest[length:]
        return status, headers, rest[:length]

    def closed(self):
        """True when the server closes without saying anything more."""
        while True:
            if self.got:
                return False
            if not self._more():
                return True

    def close(self):
        self.socket.close()


def request(method, target, headers=(), body=b"", version="HTTP/1.1", host=True):
    lines = ["%s %s %s" % (method, target, version)] + (["Host: localhost"] if host else [])
    lines += ["%s: %s" % h for h in headers]
    if body and not any(h[0].lower() in ("content-length", "transfer-encoding") for h in headers):
        lines.append("Content-Length: %d" % len(body))
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


def post(target, text, headers=(), **kw):
    body = text if isinstance(text, bytes) else text.encode()
    return request("POST", target, [("Content-Type", "application/json")] + list(headers), body, **kw)
