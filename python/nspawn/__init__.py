"""nspawn: Linux containers on rooted phones, and on any Linux machine."""

__version__ = "0.1.0"
