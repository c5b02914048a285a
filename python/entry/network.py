"""One run of the network's agent: `network.py up|down`, started with `python -I -S`."""

import sys

sys.path.insert(0, __file__[: __file__.rindex("/entry/")])

from nspawn.service.netagent import main

sys.exit(main(sys.argv[1:]))
