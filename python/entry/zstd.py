"""A filter: `zstd.py decompress|compress`, from standard input to standard output, by libzstd.

images/zstandard.py names it, with `python -I -S -B`, where there is no program zstd.
"""

import os
import sys

sys.path.insert(0, __file__[: __file__.rindex("/entry/")])

from nspawn.kernel import zstd

try:
    (zstd.compress if sys.argv[1] == "compress" else zstd.decompress)(zstd.find(), 0, 1)
except BrokenPipeError:
    os._exit(1)
except (zstd.ZstdError, OSError) as error:
    sys.stderr.write(f"zstd: {error}\n")
    sys.stderr.flush()
    os._exit(1)
os._exit(0)
