"""The room on a disk, looked at again and again while something is written to it.

Others write too, and the sizes that are known beforehand do not tell what folders, names and attributes take.
"""

from __future__ import annotations

import errno
import os

#: Bytes of the disk that stay free.
RESERVE = 64 << 20
#: Bytes between two looks.
_STEP = 16 << 20


class Room:
    """place: a path on the disk, or a descriptor."""

    def __init__(self, place: bytes | int) -> None:
        self._place = place
        self._taken = 0

    def take(self, size: int) -> None:
        """So many bytes are about to be written; OSError (ENOSPC) when too few would stay free."""
        self._taken += size
        if self._taken < _STEP:
            return
        disk = os.statvfs(self._place)
        # A tmpfs without a limit tells of no blocks at all.
        if disk.f_blocks and disk.f_bavail * disk.f_frsize < RESERVE + size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._taken = 0
