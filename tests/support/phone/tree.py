"""The read-only part of an Android phone, made of Debian's programs: /system, /vendor and what else is in /.

    python -m tests.support.phone.tree [amd64|arm64]...     builds, and prints where

Real are toybox, mksh, ip, iptables and the way they are started: by /system/bin/linker64, with libraries
in /system/lib64, and no /lib, /usr, /run or /tmp.  linker64 is glibc's loader under bionic's name.  What a
phone has and Debian has not is a fake: fakes/.  It is the root of the namespaces of phone.py and of the VM.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.support.phone import debs, elf

FAKES = Path(__file__).with_name("fakes")
CACHE = debs.REPOSITORY / ".cache" / "phone"

#: Debian's names of what an architecture is called elsewhere.
TRIPLETS = {"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}
LOADERS = {"amd64": "lib64/ld-linux-x86-64.so.2", "arm64": "lib/ld-linux-aarch64.so.1"}
ABIS = {"amd64": "x86_64", "arm64": "arm64-v8a"}

_FOLDERS = """
    system/app system/bin system/etc/init system/etc/security/cacerts system/etc/selinux system/fake
    system/fonts system/framework system/lib system/lib64/xtables system/priv-app system/usr/share/zoneinfo
    system/xbin vendor/bin vendor/etc vendor/lib64 product/bin system_ext/bin odm/bin odm/etc
    apex/com.android.art/bin apex/com.android.conscrypt/cacerts apex/com.android.i18n
    apex/com.android.runtime/bin apex/com.android.tzdata
    acct bootstrap-apex cache config data data_mirror debug_ramdisk dev linkerconfig metadata mnt oem
    postinstall proc second_stage_resources storage sys
"""
_LINKS = {
    "bin": "/system/bin",
    "etc": "/system/etc",
    "init": "/system/bin/init",
    "sdcard": "/storage/self/primary",
    "d": "/sys/kernel/debug",
    "bugreports": "/data/user_de/0/com.android.shell/files/bugreports",
    "apex/com.android.runtime/bin/linker64": "/system/bin/linker64",
}
_PROGRAMS = {
    "toybox": "usr/bin/toybox",
    "sh": "usr/bin/mksh",
    "ip": "usr/bin/ip",
    "tc": "usr/sbin/tc",
    "ss": "usr/bin/ss",
    "iptables": "usr/sbin/xtables-legacy-multi",
}
_IPTABLES = ("iptables-restore", "iptables-save", "ip6tables", "ip6tables-restore", "ip6tables-save")
#: The commands of Android's toybox ...
_TOYBOX = """
    [ acpi base64 basename blkdiscard blkid blockdev cal cat chattr chgrp chmod chown chroot chrt cksum clear
    cmp comm cp cpio cut date devmem df dirname dmesg dos2unix du echo egrep env expand fallocate false fgrep
    file find flock fmt free freeramdisk fsfreeze fsync getconf grep groups gunzip head help hostname hwclock
    iconv ifconfig inotifyd insmod install ionice iorenice iotop kill killall ln logname losetup ls lsattr
    lsmod lspci lsusb makedevs md5sum microcom mkdir mkfifo mknod mkswap mktemp modinfo mount mountpoint mv
    nbd-client nc netcat netstat nice nl nohup nproc nsenter od partprobe paste patch pgrep pidof ping ping6
    pivot_root pkill pmap printenv printf prlimit ps pwd pwdx readelf readlink realpath renice rev rfkill rm
    rmdir rmmod rtcwake sed seq setfattr setsid sha1sum sha224sum sha256sum sha384sum sha512sum sleep sort
    split stat strings swapoff swapon sync sysctl tac tail tar taskset tee test time timeout top touch true
    truncate tty tunctl uclampset ulimit umount uname uniq unix2dos unlink unshare uptime usleep uudecode
    uuencode uuidgen vconfig vmstat watch wc which xargs xxd yes zcat
"""
#: ... and those that Debian's toybox lacks: they are busybox's, from /system/fake.
_NOT_IN_DEBIANS_TOYBOX = """
    dd diff expr getopt gzip modprobe more stty tr traceroute vi
"""
#: Android's commands that only note how they were called (fakes/recorder).
_RECORDED = """
    am app_process64 cmd content input load_policy monkey ndc pm restorecon start stop svc wm
"""
_PROPERTIES = """\
ro.board.platform=bench
ro.boot.hardware=bench
ro.boot.verifiedbootstate=orange
ro.build.fingerprint=phonebox/bench/bench:13/TQ2A.230505.002/1:user/release-keys
ro.build.tags=release-keys
ro.build.type=user
ro.build.version.release=13
ro.build.version.sdk=33
ro.build.version.security_patch=2023-05-05
ro.crypto.state=encrypted
ro.crypto.type=file
ro.debuggable=0
ro.hardware=bench
ro.product.brand=phonebox
ro.product.cpu.abi={abi}
ro.product.cpu.abilist={abi}
ro.product.cpu.abilist64={abi}
ro.product.device=bench
ro.product.manufacturer=phonebox
ro.product.model=PhoneBench
ro.secure=1
ro.soc.manufacturer=Debian
ro.soc.model=Fake-1
ro.treble.enabled=true
ro.zygote=zygote64
persist.sys.locale=en-US
persist.sys.timezone=Europe/Berlin
"""


def build(architecture: str, cache: Path = CACHE) -> Path:
    """The folder of a finished tree; built when it is not there.  Treat it as read-only.

    architecture: amd64 or arm64.  Needs root, and the network for what is not in the cache.
    Raises debs.Unobtainable.
    """
    place = cache / f"{architecture}-{_recipe()}"
    cache.mkdir(parents=True, exist_ok=True)
    with open(cache / f"{architecture}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.exists():
            half = cache / f"{architecture}.half"
            shutil.rmtree(half, ignore_errors=True)
            debian = half / "debian"
            debs.extract(architecture, debs.PACKAGES, cache / "debs", debian)
            _assemble(architecture, debian, half / "root")
            for old in cache.glob(f"{architecture}-*"):
                shutil.rmtree(old)
            (half / "root").rename(place)
            shutil.rmtree(half)
    return place


def _recipe() -> str:
    """Changes with everything that a tree is made from."""
    total = hashlib.sha256()
    here = Path(__file__)
    for path in (here, here.with_name("elf.py"), debs.LOCK, *sorted(FAKES.glob("*/*"))):
        total.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()[:12]


def _assemble(architecture: str, debian: Path, root: Path) -> None:
    for name in _FOLDERS.split():
        (root / name).mkdir(parents=True, mode=0o755)
    (root / "data").chmod(0o771)
    for name, target in _LINKS.items():
        (root / name).symlink_to(target)
    programs = root / "system/bin"
    libraries = debian / "usr/lib" / TRIPLETS[architecture]
    _write(programs / "linker64", _loader(architecture, debian))
    for name, place in _PROGRAMS.items():
        data = (debian / place).read_bytes()
        _write(programs / name, elf.with_interpreter(data, "/system/bin/linker64"))
    shutil.copy2(debian / "usr/bin/busybox", root / "system/fake/busybox")
    for source in sorted((libraries / "xtables").glob("*.so")):
        shutil.copy2(source, root / "system/lib64/xtables")
    _copy_libraries(libraries, root / "system")
    _place_locale(debian, root / "system")
    _place_iptables(architecture, root / "system")
    _link_commands(programs)
    for number, source in enumerate(sorted((debian / "usr/share/ca-certificates/mozilla").glob("*.crt"))):
        shutil.copy2(source, root / f"system/etc/security/cacerts/{number:08x}.0")
    _copy_fakes(root / "system")
    _write(root / "system/build.prop", _PROPERTIES.format(abi=ABIS[architecture]).encode(), 0o600)
    _write(root / "system/etc/hosts", b"127.0.0.1       localhost\n::1             ip6-localhost\n", 0o644)
    _write(root / "system/etc/mkshrc", b': "${TMPDIR:=/data/local/tmp}"; export TMPDIR\n', 0o644)


def _loader(architecture: str, debian: Path) -> bytes:
    """glibc's loader that looks for libraries in /system/lib64 instead of Debian's folders.

    The longer of the two paths ends in the shorter, so it goes first.
    """
    data = (debian / "usr" / LOADERS[architecture]).read_bytes()
    for folder in ("/usr/lib/{}/", "/lib/{}/"):
        data = elf.with_text(data, folder.format(TRIPLETS[architecture]), "/system/lib64", "/")
    return data


def _copy_libraries(source: Path, system: Path) -> None:
    """The libraries that the programs, the extensions and these libraries themselves name."""
    waiting = [*(system / "bin").iterdir(), *(system / "lib64/xtables").iterdir()]
    while waiting:
        for name in elf.needed(waiting.pop().read_bytes()):
            target = system / "lib64" / name
            if target.is_symlink() or target.exists():
                continue
            if name.startswith("ld-linux"):
                target.symlink_to("../bin/linker64")
                continue
            assert (source / name).exists(), f"{name}: its package is not among debs.PACKAGES"
            shutil.copyfile(source / name, target)
            waiting.append(target)


def _place_locale(debian: Path, system: Path) -> None:
    """bionic knows C.UTF-8 by itself; without it Debian's mksh grumbles at every start."""
    shutil.copytree(debian / "usr/lib/locale/C.utf8", system / "locale/C.utf8")
    path = system / "lib64/libc.so.6"
    path.write_bytes(elf.with_text(path.read_bytes(), "/usr/lib/locale", "/system/locale"))


def _place_iptables(architecture: str, system: Path) -> None:
    """Android's iptables has its extensions built in and its lock in /system/etc, which /dev stands for."""
    for path in (system / "bin/iptables", *(system / "lib64").glob("libxtables.so.*")):
        data = path.read_bytes()
        for old, new in (
            (f"/usr/lib/{TRIPLETS[architecture]}/xtables", "/system/lib64/xtables"),
            ("/run/xtables.lock", "/dev/xtables.lock"),
        ):
            if old.encode() + b"\0" in data:
                data = elf.with_text(data, old, new)
        path.write_bytes(data)
    for name in _IPTABLES:
        (system / "bin" / name).symlink_to("iptables")


def _link_commands(programs: Path) -> None:
    for name in _TOYBOX.split():
        (programs / name).symlink_to("toybox")
    for name in _NOT_IN_DEBIANS_TOYBOX.split():
        _write(programs / name, f'#!/system/bin/sh\nexec /system/fake/busybox {name} "$@"\n'.encode())


def _copy_fakes(system: Path) -> None:
    for source in sorted(FAKES.glob("bin/*")):
        _write(system / "bin" / source.name, source.read_bytes())
    for source in sorted(FAKES.glob("system/*")):
        _write(system / "fake" / source.name, source.read_bytes())
    for name in _RECORDED.split():
        (system / "bin" / name).symlink_to("/system/fake/recorder")


def _write(path: Path, data: bytes, mode: int = 0o755) -> None:
    path.write_bytes(data)
    path.chmod(mode)


def main(architectures: Sequence[str]) -> None:
    os.umask(0o022)
    for architecture in architectures or debs.ARCHITECTURES:
        sys.stdout.write(f"{build(architecture)}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
