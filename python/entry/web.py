"""The web process.  The spawner starts it with `python -I -S`, so the libraries' folder is added here."""

import sys

if sys.version_info < (3, 11):
    sys.exit("nspawn: this needs Python 3.11 or newer\n  In a checkout, run: python3 build.py setup")
sys.path.insert(0, __file__[: __file__.rindex("/entry/")])

from nspawn.sites import add_site_packages

add_site_packages()

from nspawn.web.serve import main

sys.exit(main())
