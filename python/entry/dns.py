"""The forwarder of names.  The spawner starts it, with `python -I -S`, at the first packet."""

import sys

sys.path.insert(0, __file__[: __file__.rindex("/entry/")])

from nspawn.network.dns import main

sys.exit(main())
