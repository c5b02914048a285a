"""The last steps before a container's command runs: who, where, and exec."""

from __future__ import annotations

import errno
import fcntl
import os
import select

from nspawn.errors import NspawnError
from nspawn.kernel import libc, users
from nspawn.model.names import host_name
from nspawn.model.phone import IN_STORAGE, STORAGE
from nspawn.model.runspec import INITS, SHELLS, Bind

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Sequence

    from nspawn.kernel.users import User
    from nspawn.model.runspec import RunSpec
else:
    import _signal  # the part of `signal` without enum

_TIOCSCTTY = 0x540E


def take_terminal() -> None:
    """Make the standard input the controlling terminal of our new session."""
    fcntl.ioctl(0, _TIOCSCTTY, 0)


def die_with_parent(channel: int, number: int = _signal.SIGKILL) -> None:
    """Have the kernel send us this signal when our parent dies; channel: a socket whose other end is the
    parent's.

    To be said again after a change of user, which clears it (prctl(2)).  A parent that died before is seen
    by the channel: getppid(2) tells nothing across PID namespaces.
    """
    libc.prctl(libc.PR_SET_PDEATHSIG, int(number))
    poll = select.poll()
    poll.register(channel, 0)
    if poll.poll(0):
        os._exit(1)


def locate(spec: RunSpec, folder: str, *, android: bool) -> None:
    """Make the rootfs of a command line an absolute path without links, as seen from the folder, and name the
    host by it.

    A phone shows its shared storage in what is run by a command line, once it is unlocked: before, its names
    are encrypted.  Named containers have a setting for it.
    """
    spec.rootfs = os.path.realpath(os.path.join(folder, spec.rootfs))
    spec.hostname = spec.hostname or host_name(os.path.basename(spec.rootfs))
    if android and os.path.isdir(f"{STORAGE}/{IN_STORAGE}"):
        spec.binds.insert(0, Bind(STORAGE, "/mnt/storage", optional=True))


def become(spec: RunSpec, user: User, *, dies_with: int = -1) -> None:
    """Become the command of the spec, as this user of the container; returns only by an error.

    dies_with: a socket whose other end is our parent's, when we are to be killed with it.
    """
    argv = spec.argv or default_command(boot=spec.boot)
    environment = spec.environment(user.home)
    users.become(user)
    if dies_with >= 0 and (user.uid or user.gid):
        die_with_parent(dies_with)
    _change_folder(spec.workdir or user.home, wanted=bool(spec.workdir))
    execute(argv, environment)


def default_command(*, boot: bool) -> list[str]:
    for path in INITS if boot else SHELLS:
        if os.access(path, os.X_OK):
            return [path] if boot else [path, "-il"]
    if boot:
        raise NspawnError(
            "the rootfs has no init to boot",
            f"none of {', '.join(INITS)} can be executed",
            "Run a command instead, or install an init in it.",
        )
    raise NspawnError(
        "the rootfs has no shell",
        f"none of {', '.join(SHELLS)} can be executed",
        "Give a command, or check that the folder holds a root file system for this machine.",
    )


def _change_folder(path: str, *, wanted: bool) -> None:
    try:
        os.chdir(path)
    except OSError as error:
        if wanted:
            raise NspawnError(
                f"cannot start in {path!r}", error.strerror or "", "Make the folder in the container first."
            ) from error
        os.chdir("/")  # a rootfs without the user's home still runs


def execute(argv: Sequence[str], environment: dict[str, str]) -> None:
    """execve(2) by the container's PATH; NspawnError with the status that shells use (127, 126)."""
    for number in (_signal.SIGPIPE, _signal.SIGXFSZ):
        _signal.signal(number, _signal.SIG_DFL)  # Python ignores them, and exec would keep that
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
    command = argv[0]
    folders = [""] if "/" in command else environment["PATH"].split(":")
    refused: OSError | None = None
    if not command:
        folders = []
    for folder in folders:
        path = f"{folder}/{command}" if folder else command
        try:
            os.execve(path, list(argv), environment)  # noqa: S606 - there is no shell to start
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR) or os.path.lexists(path):
                refused = error
                if error.errno != errno.EACCES:
                    break
    if refused is None:
        raise NspawnError(
            f"there is no command {command!r} in the container",
            hint="Look at its PATH, or give a path.",
            status=127,
        )
    why = refused.strerror or ""
    hint = "Is it executable for this user?"
    if refused.errno == errno.ENOENT:
        why, hint = (
            "the interpreter or loader that it names is not there",
            "See its first line, or install its libc.",
        )
    elif refused.errno == errno.ENOEXEC:
        hint = f"It may be built for another machine than {os.uname().machine}."
    raise NspawnError(f"cannot execute {command!r}", why, hint, status=126)
