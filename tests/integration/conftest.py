"""Rootfs, the program with a fresh state folder, and a leak check for each module."""

from __future__ import annotations

from tests.support.fixtures import (
    busybox,
    busybox_base,
    clean_module,
    debian,
    debian_base,
    mini,
    needs_root,
    nspawn,
    systemd_base,
)

__all__ = [
    "busybox",
    "busybox_base",
    "clean_module",
    "debian",
    "debian_base",
    "mini",
    "needs_root",
    "nspawn",
    "systemd_base",
]
