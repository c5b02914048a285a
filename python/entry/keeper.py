"""Starts the keeper, and loads nothing else: `keeper.py [--strict] ROOT [HOST:PORT ...]`."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from nspawn.container import keeper
from nspawn.errors import NspawnError
from nspawn.layout import Layout


def main() -> int:
    """The exit status."""
    strict = sys.argv[1] == "--strict"
    root, *texts = sys.argv[1 + strict :]
    addresses = []
    for text in texts:
        host, _, port = text.rpartition(":")
        addresses.append((host.strip("[]"), int(port)))
    try:
        return keeper.main(Layout(root), addresses, strict=strict)
    except NspawnError as error:
        sys.stderr.write(error.render() + "\n")
        return error.status


os._exit(main())
