#!/usr/bin/env python3
"""What is measured of images: fetch, check and unpack one archive.  pull.py URL SHA256 FOLDER.

A path in place of the URL is read and checked without a network.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path

_PYTHON = Path(__file__).resolve().parent.parent.parent / "python"
sys.path.insert(0, str(_PYTHON))

from nspawn import sites  # noqa: E402


def main(url: str, digest: str, target: str) -> int:
    """Prints the most memory (KiB) of this process, and of those that it started."""
    from nspawn.images import tarball
    from nspawn.images.fetch import Fetcher, open_file
    from nspawn.model.blob import Blob
    from nspawn.model.fetching import Fetching

    if "://" in url:
        sites.add_site_packages()
        from nspawn.images.http import Client

        fetching = Fetching()
        stream = Fetcher(Client(fetching), fetching).open(Blob(digest=digest, urls=(url,)))
    else:
        stream = open_file(url, digest=digest)
    with stream:
        tarball.extract(stream, target, lambda _step: None, lambda: False, size=stream.size)
    # Not ru_maxrss: that keeps the most of what this process was before it became Python (getrusage(2)).
    own = next(
        line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")
    )
    print(own.split()[1], resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
