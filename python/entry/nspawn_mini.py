"""`system/bin/nspawn-mini` starts this with `python -I -S`: only the standard library is on sys.path."""

import sys

if sys.version_info < (3, 11):
    sys.exit("nspawn: this needs Python 3.11 or newer\n  In a checkout, run: python3 build.py setup")
sys.path.insert(0, __file__[: __file__.rindex("/entry/")])

from nspawn.cli.run import main

main(sys.argv[1:], mini=True)
