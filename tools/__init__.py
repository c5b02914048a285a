"""What build.py does: standard library only, Python 3.11 or newer, one module per concern."""
