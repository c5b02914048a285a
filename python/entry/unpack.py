"""The process that unpacks an archive.  images/tarball.py starts it, with `python -I -S -B`."""

import os
import sys

sys.path.insert(0, __file__[: __file__.rindex("/entry/")])

from nspawn.images.unpack import main

os._exit(main(sys.argv[1:]))
