"""First byte of each message on an attached console."""

OUTPUT = b"o"  # from the container
INPUT = b"i"  # to the container
SIZE = b"w"  # rows and columns, two big-endian 16-bit numbers
EXIT = b"x"  # the container's record, when it ended
