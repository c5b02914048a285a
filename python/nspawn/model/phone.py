"""Names that Android gives, which more than one part of the program knows."""

from __future__ import annotations

GETPROP = "/system/bin/getprop"
#: (property, the value that means yes).
BOOT_COMPLETED = ("sys.boot_completed", "1")
UNLOCKED = ("sys.user.0.ce_available", "true")
#: The shared storage of the first user.  While the phone is locked the names in it are encrypted.
STORAGE = "/data/media/0"
#: What is always in it, once it can be read.
IN_STORAGE = "Android"
#: Why the phone started: Android's canonical boot reason (source.android.com, Boot reason), the surer first.
BOOT_REASONS = ("sys.boot.reason", "sys.boot.reason.last")
