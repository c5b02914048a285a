"""The kinds of root shell that people have on a phone, as a command line that makes one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_ANDROID = ". /system/fake/environment.sh; "
_OWN_MOUNTS = "/system/fake/busybox unshare -m --propagation slave "
#: What a manager's su adds to PATH, whoever called it.
_MANAGERS_PATH = {
    "ksu": "PATH=$PATH:/data/adb/ksu/bin; ",
    "apatch": "PATH=$PATH:/data/adb/ap/bin; ",
}
_TERMUX = "/data/data/com.termux/files"


@dataclass(frozen=True, kw_only=True)
class Shell:
    """One kind of shell.

    before: shell commands in Android's own sh first.  own_mounts: a mount namespace of the calling app.
    filtered: its system calls pass a seccomp filter (which allows all), as those of some managers' su.
    """

    before: str
    environment: Mapping[str, str]
    own_mounts: bool = False
    filtered: bool = False
    folder: str = "/"

    def script(self, command: str, manager: str) -> str:
        """What /system/bin/sh of the phone is given."""
        before = f"{self.before}{_MANAGERS_PATH.get(manager, '')}cd {self.folder}; "
        if not self.own_mounts:
            return before + command
        inner = command.replace("'", "'\\''")
        return f"{before}exec {_OWN_MOUNTS} /system/bin/sh -c '{inner}'"


_PLAIN = {"HOME": "/", "USER": "root", "LOGNAME": "root", "SHELL": "/system/bin/sh", "HOSTNAME": "localhost"}

SHELLS = {
    # adb shell, then su: the mounts of init.
    "adb su": Shell(before=_ANDROID, environment={**_PLAIN, "TERM": "xterm-256color"}),
    # Magisk's su stays in the mounts of the app that called it.
    "magisk su": Shell(
        before=_ANDROID, environment={**_PLAIN, "TERM": "xterm"}, own_mounts=True, filtered=True
    ),
    "ksu su": Shell(before=_ANDROID, environment={**_PLAIN, "TERM": "xterm"}, own_mounts=True),
    "apatch su": Shell(
        before=_ANDROID, environment={**_PLAIN, "TERM": "xterm"}, own_mounts=True, filtered=True
    ),
    # Termux's tsu: its own PATH, home and preloaded library come along.
    "tsu": Shell(
        before=_ANDROID + f"PATH={_TERMUX}/usr/bin:$PATH; "
        f"export LD_PRELOAD={_TERMUX}/usr/lib/libtermux-exec.so; ",
        environment={
            **_PLAIN,
            "TERM": "xterm-256color",
            "HOME": f"{_TERMUX}/home/.suroot",
            "PREFIX": f"{_TERMUX}/usr",
            "TMPDIR": f"{_TERMUX}/usr/tmp",
            "LANG": "en_US.UTF-8",
            "SHELL": f"{_TERMUX}/usr/bin/bash",
        },
        own_mounts=True,
    ),
}
