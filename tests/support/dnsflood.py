"""What a hostile container may send to the forwarder.

    dnsflood.py KIND SERVER COUNT

garbage: packets of chance, and cut or changed queries; queries: questions about ever new names, whose answers
are not waited for; connect: connections that send nothing, or half of a query, and stay; pipeline: queries by
TCP as fast as they are taken, whose answers are never read; malformed: one connection full of bad queries.
Prints `done`; the connections stay open until standard input ends.
"""

from __future__ import annotations

import random
import socket
import struct
import sys


def query(name: str, kind: int = 1) -> bytes:
    labels = b"".join(bytes((len(part),)) + part.encode() for part in name.split("."))
    head = struct.pack(">HHHHHH", random.randrange(65536), 0x0100, 1, 0, 0, 0)
    return head + labels + b"\0" + struct.pack(">HH", kind, 1)


def hostile(chance: random.Random) -> bytes:
    """One of many wrong messages."""
    base = query(f"x{chance.randrange(10**6)}.nspawn")
    kind = chance.randrange(7)
    if kind == 0:
        return chance.randbytes(chance.randrange(600))
    if kind == 1:
        return base[: chance.randrange(len(base))]
    if kind == 2:
        at = chance.randrange(len(base))
        return base[:at] + chance.randbytes(1) + base[at + 1 :]
    if kind == 3:
        return base[:10] + b"\xff\xff" + base[12:] + b"\0\0\x29\xff\xff\0\0\0\0\xff\xff" * 5
    if kind == 4:
        return base[:4] + b"\0\1" + base[6:12] + b"\xc0\x0c" * 20
    if kind == 5:
        return base[:12] + b"\x3f" + b"a" * 63 + b"\x3f" + b"b" * 1900
    return b"\0\0\x80" + base[3:]


def udp(server: str) -> socket.socket:
    end = socket.socket(socket.AF_INET6 if ":" in server else socket.AF_INET, socket.SOCK_DGRAM)
    end.connect((server, 53))
    return end


def send(end: socket.socket, data: bytes) -> None:
    try:
        end.send(data)
    except OSError:
        pass  # an error of an earlier packet


def settle(end: socket.socket) -> None:
    """Wait until everything before has been looked at: the queue is short, and drops what is more."""
    end.settimeout(2)
    for _ in range(5):
        asked = query("good.nspawn")
        send(end, asked)
        try:
            while end.recv(4096)[:2] != asked[:2]:
                pass
            return
        except OSError:
            continue
    raise SystemExit("no answer")


def packets(server: str, count: int, *, questions: bool) -> None:
    chance = random.Random(4)
    end = udp(server)
    for number in range(count):
        if questions:
            send(end, query(f"n{number}.flood.example", chance.choice((1, 28, 16))))
        else:
            send(end, hostile(chance))
        if number % 50 == 49:
            settle(end)


def connection(kind: str, server: str, number: int) -> socket.socket:
    end = socket.create_connection((server, 53), 10)
    try:
        if kind == "connect" and number % 2:
            end.send(b"\0\x20half")
        elif kind == "malformed":
            end.sendall((b"\0\x0c" + bytes(4) + b"\xff" * 8) * 5000)
        elif kind == "pipeline":
            end.setblocking(False)
            big = query("big.example", 16)
            while True:
                end.send(struct.pack(">H", len(big)) + big)
    except OSError:
        pass  # it was given up, or takes no more
    return end


def main() -> None:
    kind, server, text = sys.argv[1:]
    kept = []
    if kind in ("garbage", "queries"):
        packets(server, int(text), questions=kind == "queries")
    else:
        kept = [connection(kind, server, number) for number in range(int(text))]
    print("done", flush=True)
    sys.stdin.read()
    del kept


main()
