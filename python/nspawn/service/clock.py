"""Moments as the clock on this machine's wall shows them."""

from __future__ import annotations

import os
import time

from nspawn.layout import on_android


def local(moment: float) -> str:
    """moment: seconds since the epoch.

    Android's C library takes the zone from a property; ours in a root shell, where nobody sets TZ, would
    show UTC next to a log in the phone's zone.
    """
    if on_android(os.environ) and "TZ" not in os.environ:
        from nspawn.android import environment
        from nspawn.layout import Layout

        found = environment.service(os.environ, Layout.from_environment(os.environ))
        os.environ.update({name: found[name] for name in ("TZ", "TZDIR") if name in found})
        time.tzset()
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment))
