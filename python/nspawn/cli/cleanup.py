"""`nspawn -C`: what is left of the containers' network is removed when nothing needs it."""

from __future__ import annotations

import os
import sys

from nspawn.cli import base
from nspawn.cli.show import clean


def main() -> int:
    """Say what was removed.  Conflict while a container uses it."""
    from nspawn.service.network import Network

    removed = Network(base.layout()).down()
    for line in removed:
        base.say(clean(line.partition(os.linesep)[0]))
    if removed:
        sys.stderr.write("nspawn: removed what was left of the network\n")
    else:
        sys.stderr.write("nspawn: there was nothing of the network to remove\n")
    return 0
