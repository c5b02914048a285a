"""The service of a checkout, in the foreground."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time

from tools import places
from tools.process import BuildError, command_line, say


def answers(path: str) -> bool:
    """Whether somebody listens on a control socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as control:
        try:
            control.connect(path)
        except OSError:
            return False
    return True


def run(port: int | None) -> int:
    """Run the service in the foreground and print a login address. Returns the service's status."""
    if os.geteuid() != 0:
        raise BuildError("containers need root", "Run: sudo python3 build.py run")
    root = os.environ.setdefault("NSPAWN_ROOT", "/var/lib/nspawn")
    if answers(f"{root}/run/control.sock"):
        say(f"the service of {root} runs already (end it with `nspawn shutdown`); open this address:")
        return subprocess.run([places.NSPAWN, "login"]).returncode
    words = [str(places.NSPAWN), "serve", *(["--port", str(port)] if port is not None else [])]
    say(f"state is kept in {root}; Ctrl-C stops the containers in order and ends the service")
    print(f"+ {command_line(words)}", flush=True)
    service = subprocess.Popen(words)
    # The terminal sends Ctrl-C to the service too, which ends in its own time.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, _frame: service.send_signal(number))
    deadline = time.monotonic() + 20
    while service.poll() is None and time.monotonic() < deadline:
        if answers(f"{root}/run/control.sock"):
            say("open this address in a browser (it works once, for a minute; `nspawn login` makes another):")
            subprocess.run([places.NSPAWN, "login"])
            break
        time.sleep(0.05)
    return service.wait()
