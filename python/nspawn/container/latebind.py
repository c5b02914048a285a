"""Mounting something of the host into a container that runs: by the mount calls of Linux 5.2.

open_tree(2) makes a copy of the host's mount that is mounted nowhere; a child takes its descriptor into the
container's mount namespace, looks the place up there without following a link, and mounts it.
"""

from __future__ import annotations

import errno
import os

from nspawn.errors import Conflict, NspawnError, Unsupported
from nspawn.kernel import inroot, libc, process, unix
from nspawn.model.record import Record, error_record, raise_error

#: The container may have made the place a file system that never answers.
_SECONDS = 10.0

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


def bind(pid: int, start_time: int, source: str, target: str) -> None:
    """Show a folder of the host at a place in the container, which is made when missing.

    pid, start_time: of its first process.  Raises Unsupported on older kernels, Conflict when it ended.
    """
    try:
        tree = libc.open_tree(os.path.realpath(source))
    except OSError as error:
        if error.errno == errno.ENOSYS:
            raise Unsupported(
                "this kernel cannot show a folder to a container that runs", "it is older than Linux 5.2"
            ) from None
        raise NspawnError(f"{source} cannot be shown", error.strerror or "") from error
    descriptors = [tree]
    try:
        try:
            namespace = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
            descriptors.append(namespace)
            root = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            descriptors.append(root)
        except OSError:
            raise Conflict("it ended just now") from None
        if process.start_time(pid) != start_time:
            raise Conflict("it ended just now")
        _in_child(tree, namespace, root, target)
    finally:
        unix.close_all(descriptors)


def _in_child(tree: int, namespace: int, root: int, target: str) -> None:
    ours, theirs = unix.pair()
    child = os.fork()
    if child == 0:
        ours.close()
        _child(tree, namespace, root, target, theirs)
    theirs.close()
    with ours:
        ours.settimeout(_SECONDS)
        try:
            data, _none = unix.receive(ours)
        except TimeoutError:
            os.kill(child, 9)  # it may not end at once, so nobody waits for it here: our parent reaps it
            raise NspawnError(f"{target} cannot be mounted", "the container's files do not answer") from None
    os.waitpid(child, 0)
    answer = Record.decode(data)
    raise_error(answer)
    if not answer.flag("ok"):
        raise NspawnError(f"{target} cannot be mounted", "what should do it was killed")


def _child(tree: int, namespace: int, root: int, target: str, channel: unix.Socket) -> NoReturn:
    answer = Record((("ok", 1),))
    try:
        unix.close_others(tree, namespace, root, channel.fileno())
        libc.setns(namespace, libc.CLONE_NEWNS)
        place = inroot.find(root, target, make="folder")
        libc.move_mount(tree, place.folder, place.name)
    except OSError as error:
        answer = error_record(NspawnError(f"{target} cannot be mounted", error.strerror or ""))
    except BaseException as error:  # noqa: BLE001 - whatever it is, the parent has to hear of it
        answer = error_record(NspawnError(f"{target} cannot be mounted", str(error)))
    finally:
        try:
            unix.send(channel, answer.encode())
        finally:
            os._exit(0)
    raise AssertionError
