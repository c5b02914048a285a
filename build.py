#!/usr/bin/env python3
"""The one tool of this repository: `python3 build.py --help`. What it does is in tools/."""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    from tools import places

    if sys.version_info < places.OLDEST_PYTHON:
        sys.exit("build.py: this needs Python 3.11 or newer")
    from tools.commands import main

    sys.exit(main(sys.argv[1:]))
