"""The network's agent, one run: `network.py up|down`.  Started with `python -I -S`, by the spawner or a command."""

import sys

sys.path.insert(0, __file__[: __file__.rindex("/entry/")])

from nspawn.service.netagent import main

sys.exit(main(sys.argv[1:]))
