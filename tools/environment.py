"""The Python environment of a checkout: .venv with the locks' packages, and byte code of ours."""

from __future__ import annotations

import os
import subprocess
import sys

from tools import places
from tools.packages import install_packages
from tools.process import execute, output_of, say
from tools.stamps import digest, is_stamped, stamp


def base_python() -> str:
    """The interpreter that the environment is made from: Debian's own, or the one that runs this."""
    debian = "/usr/bin/python3"
    if os.access(debian, os.X_OK):
        version = output_of(debian, "-c", "import sys; print(*sys.version_info[:2])").split()
        if tuple(map(int, version)) >= places.OLDEST_PYTHON:
            return debian
    return sys.executable


def has_ensurepip(python: str) -> bool:
    """Debian keeps the parts that `venv` needs in a package of their own."""
    return subprocess.run([python, "-c", "import ensurepip, venv"], stderr=subprocess.DEVNULL).returncode == 0


def setup_environment(*, developer: bool) -> None:
    """Make .venv with run.lock (and dev.lock), anew when a lock or the interpreter changed."""
    run_lock, dev_lock = places.HOME / "requirements/run.lock", places.HOME / "requirements/dev.lock"
    python = base_python()
    run_state = digest(run_lock, os.path.realpath(python))
    dev_state = digest(dev_lock, run_lock, os.path.realpath(python))
    fresh = places.PYTHON.exists() and is_stamped("run", run_state)
    if fresh and (not developer or is_stamped("dev", dev_state)):
        return
    if fresh and not (places.STAMPS / "dev").exists():
        locks = [dev_lock]
    else:
        developer = developer or (places.STAMPS / "dev").exists()
        locks = [run_lock, dev_lock] if developer else [run_lock]
        (places.STAMPS / "run").unlink(missing_ok=True)
        if not has_ensurepip(python):
            install_packages({"python3-venv": "makes the private environment"})
        say(f"making {places.VENV.relative_to(places.HOME)} with {python}")
        execute(python, "-m", "venv", "--clear", places.VENV)
    (places.STAMPS / "dev").unlink(missing_ok=True)
    for lock in locks:
        say(f"installing the Python packages of {lock.relative_to(places.HOME)}")
        options = ("--quiet", "--disable-pip-version-check", "--no-input", "--only-binary=:all:")
        execute(places.PYTHON, "-m", "pip", "install", *options, "--no-deps", "--require-hashes", "-r", lock)
    stamp("run", run_state)
    if developer:
        stamp("dev", dev_state)


def compile_bytecode() -> None:
    """Byte code of our own modules: without it every start would compile them."""
    execute(places.PYTHON, "-m", "compileall", "-q", places.HOME / "python", show=False)
