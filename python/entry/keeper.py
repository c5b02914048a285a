"""Starts the keeper: `keeper.py ROOT [HOST:PORT ...]`, as `nspawn serve` executes it; loads nothing else."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from nspawn.container import keeper
from nspawn.errors import NspawnError
from nspawn.layout import Layout


def main() -> int:
    """The exit status."""
    addresses = []
    for text in sys.argv[2:]:
        host, _, port = text.rpartition(":")
        addresses.append((host.strip("[]"), int(port)))
    try:
        return keeper.main(Layout(sys.argv[1]), addresses)
    except NspawnError as error:
        sys.stderr.write(error.render() + "\n")
        return error.status


os._exit(main())
