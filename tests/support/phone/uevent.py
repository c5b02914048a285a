"""Send a uevent to all who listen in this network namespace: `python uevent.py ACTION@PATH KEY=VALUE...`

Since Linux 4.18 root may hand one to the kernel, which numbers it and passes it on in the sender's network
namespace only, as if a device had caused it (lib/kobject_uevent.c).
"""

from __future__ import annotations

import socket
import struct
import sys

_NETLINK_KOBJECT_UEVENT = 15
_REQUEST, _ACK, _ERROR, _KIND = 1, 4, 2, 16


def send(head: str, values: list[str]) -> None:
    """Raises OSError when the kernel refuses it."""
    text = b"".join(word.encode() + b"\0" for word in (head, *values))
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _NETLINK_KOBJECT_UEVENT) as kernel:
        kernel.bind((0, 0))
        kernel.sendto(struct.pack("=IHHII", 16 + len(text), _KIND, _REQUEST | _ACK, 1, 0) + text, (0, 0))
        answer = kernel.recv(4096)
        _, kind, _, _, _, error = struct.unpack_from("=IHHIIi", answer)
        if kind == _ERROR and error:
            raise OSError(-error, "uevent")


if __name__ == "__main__":
    send(sys.argv[1], sys.argv[2:])
