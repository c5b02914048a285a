"""One step of the boot.  The spawner starts it, with `python -I -S`, at each event that was waited for."""

import sys

sys.path.insert(0, __file__[: __file__.rindex("/entry/")])

from nspawn.service.boot import main

sys.exit(main())
