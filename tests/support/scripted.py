"""A root with /data and /system in namespaces, for the module's scripts.

Not a phone: the programs are this machine's.  Named fakes: `getprop`, `am`, the installers of the managers
(written from facts/module.md), and Python's bundle, which is this machine's Python under the bundle's names.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.support import processes
from tests.support.command import Result, run
from tests.support.program import REPOSITORY

SHELLS = ("busybox ash", "mksh", "dash")
MANAGERS = ("magisk", "ksu", "apatch")
MODULE = "data/adb/modules/nspawn"
UPDATE = "data/adb/modules_update/nspawn"
STATE = "data/adb/nspawn"
BIN = {"magisk": "data/adb/magisk", "ksu": "data/adb/ksu/bin", "apatch": "data/adb/ap/bin"}

_ROOT = ("module.prop", "customize.sh", "service.sh", "action.sh", "uninstall.sh")
_FOLDERS = ("META-INF", "system/bin", "share/module.sh", "python/entry", "python/nspawn")
_PYTHON = f'#!/bin/sh\nexec {os.path.realpath(sys.base_prefix)}/bin/python3 "$@"\n'
# What ld.so is called with before the reboot: --library-path FOLDER PROGRAM ARGUMENT...
_LOADER = '#!/bin/sh\n[ "$1" = --library-path ] || exit 99\nshift 2\nexec "$@"\n'

_GETPROP = """#!/bin/sh
# FAKE: Android's getprop.
case $1 in
persist.sys.timezone) echo Europe/Berlin ;;
ro.build.version.release) echo 13 ;;
esac
"""
# Shows what Android's does, and keeps its arguments for the test.
_AM = """#!/bin/sh
# FAKE: Android's am.
for word in "$@"; do echo "$word"; done >/data/am.called
[ -e /data/am.fails ] && { echo "Error: Activity not started, unable to resolve Intent"; exit 0; }
echo "Starting: Intent { act=$3 dat=$5 }"
"""

#: FAKE: what the managers' installers do around customize.sh (facts: module, testbench).
_INSTALLER = """
umask 0
BOOTMODE=${BOOTMODE-true} ARCH=${ARCH-x64} IS64BIT=true API=33
MODPATH=/data/adb/modules_update/nspawn TMPDIR=/data/tmp ZIPFILE=/data/nspawn.zip
export BOOTMODE ARCH IS64BIT API MODPATH TMPDIR ZIPFILE
ui_print() { echo "$1"; }
abort() { ui_print "$1"; [ -n "$MODPATH" ] && rm -rf "$MODPATH"; rm -rf "$TMPDIR"; exit 1; }
mkdir -p "$MODPATH" "$TMPDIR" /data/adb/modules
case $FAKE in
magisk) MAGISK_VER=27.0 MAGISK_VER_CODE=27000 ;;
ksu) KSU=true KSU_VER=v3.0.0 MAGISK_VER=25.2 MAGISK_VER_CODE=25200
     unzip -qo "$ZIPFILE" -d "$MODPATH" ;;
apatch) APATCH=true APATCH_VER=0.10 MAGISK_VER=27.0 MAGISK_VER_CODE=30000
     unzip -qo "$ZIPFILE" -d "$MODPATH" ;;
esac
unzip -qo "$ZIPFILE" customize.sh -d "$MODPATH"
grep -q '^SKIPUNZIP=1$' "$MODPATH/customize.sh" || abort "the managers' own way was taken"
. "$MODPATH/customize.sh"
mkdir -p /data/adb/modules/nspawn
: >/data/adb/modules/nspawn/update
cp -f "$MODPATH/module.prop" /data/adb/modules/nspawn/module.prop
rm -rf "$MODPATH/customize.sh" "$TMPDIR"
echo "- Done"
"""


def release(target: Path, *, change: Mapping[str, bytes | None] | None = None, arch: str = "x86-64") -> Path:
    """A zip of the working tree with the stand-ins.

    change: files by name, put in after the manifest was written; None leaves one out.
    """
    files: dict[str, bytes] = {name: (REPOSITORY / name).read_bytes() for name in _ROOT}
    for folder in _FOLDERS:
        top = REPOSITORY / folder
        for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
            if path.is_file() and "__pycache__" not in path.parts:
                files[str(path.relative_to(REPOSITORY))] = path.read_bytes()
    files["python/bin/python3.13"] = _PYTHON.encode()
    files[f"python/lib/ld-linux-{arch}.so.2"] = _LOADER.encode()
    files["python/lib/python3.13/site-packages/certifi/cacert.pem"] = b"authorities\n"
    files["share/zoneinfo/UTC"] = b"TZif\n"
    files["share/builtin/x86_64/busybox"] = Path("/bin/busybox").read_bytes()
    manifest = "".join(
        f"{hashlib.sha256(data).hexdigest()}  {name}\n"
        for name, data in sorted(files.items())
        if not name.startswith("META-INF/")
    )
    files["manifest.sha256"] = manifest.encode()
    for name, data in (change or {}).items():
        if data is None:
            del files[name]
        else:
            files[name] = data
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return target


class Rooted:
    """The running root.  Everything in it is seen from outside through `root`."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.root = Path("/proc") / str(pid) / "root"

    def path(self, name: str) -> Path:
        """A path inside, by its name without the leading slash."""
        return self.root / name

    def exists(self, name: str) -> bool:
        return os.path.lexists(self.root / name)

    def __call__(
        self,
        script: str,
        *words: str,
        shell: str = "busybox ash",
        environment: Mapping[str, str] | None = None,
        stdin: bytes = b"",
        timeout: float = 30.0,
    ) -> Result:
        """Run a line of shell, or a script by its path, as root inside."""
        enter = ["nsenter", f"--target={self.pid}", "--mount", "--pid", "--net", "--root", "--wdns=/"]
        what = (
            [script, *words]
            if script.startswith("/") and not set(" \n") & set(script)
            else ["-c", script, *words]
        )
        android = {"ANDROID_ROOT": "/system", "ANDROID_DATA": "/data"}
        path = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin:/system/bin"} | android
        return run(
            [*enter, *shell.split(), *what],
            environment=path | dict(environment or {}),
            stdin=stdin,
            timeout=timeout,
        )

    def install(self, archive: Path, manager: str, *, shell: str = "busybox ash", **variables: str) -> Result:
        """Flash it as the manager's installer does."""
        self.path("data/nspawn.zip").write_bytes(archive.read_bytes())
        self.path(BIN[manager]).mkdir(parents=True, exist_ok=True)
        return self(_INSTALLER, shell=shell, environment={"FAKE": manager} | variables)

    def reboot(self, manager: str) -> None:
        """What the manager does with files at boot."""
        done = self(
            "rm -rf /data/adb/modules/nspawn; mv /data/adb/modules_update/nspawn /data/adb/modules/nspawn"
        )
        assert done.status == 0, str(done)
        if manager == "magisk":
            done = self("for f in /data/adb/modules/nspawn/system/bin/*; do ln -sf $f /system/bin/; done")
            assert done.status == 0, str(done)

    def keepers(self) -> list[int]:
        """The services inside, by their process IDs outside."""
        mine = processes.namespace(self.pid, "pid")
        found = [
            pid
            for pid in processes.all_processes()
            if any(word.endswith("entry/keeper.py") for word in processes.command_line(pid))
            and processes.namespace(pid, "pid") == mine
        ]
        return [pid for pid in found if processes.parent(pid) not in found]  # the spawner is a fork


_SETUP = r"""
set -e
ip link set lo up
root=$1; space=$2
mount -t tmpfs -o size=16m tmpfs "$root"
cd "$root"
mkdir -p usr bin sbin lib lib64 etc proc dev sys data system run tmp
for each in usr bin sbin lib lib64 etc sys; do mount --rbind "/$each" "$each"; done
mount --rbind /dev dev
mount -t tmpfs tmpfs sys/fs/cgroup  # or groups of containers would be left behind
mount -t proc proc proc
mount -t tmpfs -o "size=$space" tmpfs data
mkdir -p system/bin data/adb
chmod 0700 data/adb
shift 2
exec chroot . /bin/sh -c 'echo ready; while :; do sleep 1000; done'
"""


@contextmanager
def rooted(folder: Path, *, space: str = "700m") -> Iterator[Rooted]:
    """Start it; space: of /data, as mount(8) takes it."""
    folder.mkdir()
    words = ["unshare", "--mount", "--pid", "--net", "--fork", "--kill-child", "--propagation", "private"]
    with subprocess.Popen(
        [*words, "sh", "-c", _SETUP, "sh", str(folder), space], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"ready\n"
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            found = Rooted(int(children[0]))
            for name, text in (("getprop", _GETPROP), ("am", _AM)):
                found.path(f"system/bin/{name}").write_text(text)
                found.path(f"system/bin/{name}").chmod(0o755)
            yield found
        finally:
            process.kill()
            process.wait()


@contextmanager
def installed(folder: Path, archive: Path, manager: str) -> Iterator[Rooted]:
    """The same with the module of a zip, flashed, and after the reboot."""
    with rooted(folder) as found:
        assert found.install(archive, manager).status == 0
        found.reboot(manager)
        yield found
