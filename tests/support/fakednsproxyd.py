"""A fake of Android's resolver: the unix socket dnsproxyd, written from facts/runtime.md, section DNS.

One request per connection, ended by NUL.  It answers `resnsend` and `getaddrinfo` out of a table of addresses
by network and name, and can behave as other versions and as a phone in trouble do.
"""

from __future__ import annotations

import base64
import os
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: bionic's codes of getaddrinfo; they are not glibc's.
EAI_NODATA, EAI_NONAME = 7, 8
ETIMEDOUT = 110


class FakeDnsproxyd:
    """addresses: by (netid, name) what the name means; netid 0 is the default network.

    mode: "" answers; "errno" fails as a network without an answer does; "old" knows no resnsend; "silent"
    takes requests and says nothing; "hangup" closes at once; "garbage" sends what is no answer; "large" pads
    an answer to 6000 bytes; "slow" sends single bytes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.mode = ""
        self.addresses: dict[tuple[int, str], list[str]] = {}
        #: Each request as it came, without the NUL.
        self.requests: list[str] = []
        self._stop = threading.Event()
        self._held: list[socket.socket] = []
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen(64)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)
        for end in self._held:
            end.close()
        self.path.unlink()

    @property
    def netids(self) -> list[int]:
        """The networks that were asked by."""
        return [int(request.split(" ")[1]) for request in self.requests if request.startswith("resnsend ")]

    def _serve(self) -> None:
        while not self._stop.is_set():
            try:
                end, _ = self._listener.accept()
            except OSError:
                return
            if self.mode == "silent":
                self._held.append(end)
                continue
            with end:
                end.settimeout(5)
                try:
                    self._one(end)
                except OSError:
                    continue

    def _one(self, end: socket.socket) -> None:
        request = b""
        while not request.endswith(b"\0"):
            data = end.recv(1024)
            if not data:
                return
            request += data
        assert len(request) <= 1024, "netd's buffer is 1024 bytes"
        words = request[:-1].decode("ascii").split(" ")
        self.requests.append(" ".join(words))
        if self.mode == "hangup":
            return
        if self.mode == "garbage":
            end.sendall(struct.pack(">II", 0, 0x7FFFFFFF) + os.urandom(64))
            return
        answer = {"resnsend": self._resnsend, "getaddrinfo": self._getaddrinfo}[words[0]](words)
        if self.mode == "slow":
            for byte in answer:
                end.sendall(bytes((byte,)))
        else:
            end.sendall(answer)

    # resnsend <netId> <flags> <base64 query>: BE32 rcode, BE32 length, answer

    def _resnsend(self, words: list[str]) -> bytes:
        if self.mode == "old":
            return b"500 Command not recognized\0"
        if self.mode == "errno":
            return struct.pack(">i", -ETIMEDOUT)
        _, netid, _flags, text = words
        query = base64.b64decode(text, validate=True)
        name, at = _name(query, 12)
        kind = struct.unpack_from(">H", query, at)[0]
        question = query[12 : at + 4]
        known = self.addresses.get((int(netid), name))
        family = {1: socket.AF_INET, 28: socket.AF_INET6}.get(kind)
        texts = [text for text in known or () if (":" in text) == (family == socket.AF_INET6)]
        records = [
            b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 60, len(data)) + data
            for data in (socket.inet_pton(family, text) for text in texts if family)
        ]
        if self.mode == "large":
            pad = bytes((250,)) + b"x" * 250
            records += [b"\xc0\x0c" + struct.pack(">HHIH", 16, 1, 60, len(pad)) + pad] * 23
        rcode = 3 if known is None else 0
        header = query[:2] + struct.pack(">HHHHH", 0x8180 | rcode, 1, len(records), 0, 0)
        answer = header + question + b"".join(records)
        return struct.pack(">II", rcode, len(answer)) + answer

    # getaddrinfo <host> <service|^> <flags> <family> <socktype> <proto> <netId>

    def _getaddrinfo(self, words: list[str]) -> bytes:
        if len(words) != 8:
            return b"501 Invalid number of arguments\0"
        _, host, _service, _flags, family, kind, proto, netid = words
        known = self.addresses.get((int(netid), host))
        if known is None:
            return b"401\0" + struct.pack(">i", 4) + struct.pack("=i", EAI_NODATA)
        parts = [b"222\0"]
        for text in known:
            own = socket.AF_INET6 if ":" in text else socket.AF_INET
            if int(family) not in (0, own):
                continue
            packed = socket.inet_pton(own, text.partition("%")[0])
            address = struct.pack("=HH", own, 0)
            if own == socket.AF_INET:
                address += packed + bytes(8)
            else:
                address += bytes(4) + packed + struct.pack("=I", 7 if "%" in text else 0)
            canon = f"{host}\0".encode()
            parts += (
                struct.pack(">iiiiii", 1, 0, own, int(kind) or 1, int(proto) or 6, len(address)),
                address,
                struct.pack(">i", len(canon)),
                canon,
            )
        return b"".join([*parts, struct.pack(">i", 0)])


def _name(message: bytes, at: int) -> tuple[str, int]:
    labels = []
    while message[at]:
        labels.append(message[at + 1 : at + 1 + message[at]].decode("latin-1"))
        at += 1 + message[at]
    return ".".join(labels), at + 1


@contextmanager
def fake_dnsproxyd(phone: Path) -> Iterator[FakeDnsproxyd]:
    """At its place below the root of a fake phone."""
    place = phone / "dev" / "socket"
    place.mkdir(parents=True, exist_ok=True)
    fake = FakeDnsproxyd(place / "dnsproxyd")
    try:
        yield fake
    finally:
        fake.close()
