"""Starts the keeper, and loads nothing else: `keeper.py [--strict] [--boot] ROOT [HOST:PORT ...]`."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from nspawn.container import keeper
from nspawn.errors import NspawnError
from nspawn.layout import Layout


def main() -> int:
    """The exit status."""
    words = sys.argv[1:]
    flags = set()
    while words[0] in ("--strict", "--boot"):
        flags.add(words.pop(0))
    root, *texts = words
    addresses = []
    for text in texts:
        host, _, port = text.rpartition(":")
        addresses.append((host.strip("[]"), int(port)))
    try:
        return keeper.main(Layout(root), addresses, strict="--strict" in flags, boot="--boot" in flags)
    except NspawnError as error:
        sys.stderr.write(error.render() + "\n")
        return error.status


os._exit(main())
