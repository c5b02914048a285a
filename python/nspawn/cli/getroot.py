"""`getroot`: fetches root file systems into folders."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from nspawn.cli import imageoptions
from nspawn.errors import Conflict, NspawnError, UsageError
from nspawn.kernel import initmounts

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from types import FrameType

    from nspawn.layout import Layout
    from nspawn.model.image import Image
    from nspawn.model.imageref import ImageRef

_HELP = """\
Usage: getroot IMAGE [-o DIR]
       getroot -d DISTRO [-r RELEASE] [-a ARCH] [-o DIR]
       getroot -l | -s DISTRO

Fetch a root file system into a new folder (default: ./DISTRO_RELEASE), checked by its hash.

  IMAGE                    debian, debian:13, ubuntu:24.04, void:musl ...; docker.io/library/nginx:1.27;
                           ./rootfs.tar.xz; https://HOST/FILE#sha256=...; builtin (needs no network)
  -d, --distro DISTRO      the distribution, in a word of its own
  -r, --release RELEASE    its release: a name, a number, current, testing ...
  -a, --arch ARCH          amd64, arm64, armhf, riscv64 ... (default: of this machine)
  -o, --output DIR         the folder to make
  -l, --list               what the image server has for this machine
  -s, --search DISTRO      the same of one distribution
  --cloud                  list the images made for clouds too
  --variant NAME           of the image: default, cloud, musl, systemd ...
  --force                  replace a root file system that is in the folder already
  --keep                   store what is fetched, for the next time
  --password TEXT          of root; '-' reads a line of standard input (default: a random one, shown once)
  --lock-password          no password lets anybody in as root
  --ssh-keys FILE          public keys that may log in as root; may be repeated
  --timezone ZONE          Europe/Berlin, UTC ... (default: this machine's, where the image has it)
  --locale LOCALE          de_DE.UTF-8 ... (default: this machine's, where the image has it)
  --skip STEP              leave a step after the unpacking out; may be repeated
  -v, --verbose            tell more
  -V, --version            the version
  -h, --help               this text

The environment: NSPAWN_IMAGE_SERVER (instead of images.linuxcontainers.org), https_proxy, SSL_CERT_FILE.
"""


def main(argv: list[str]) -> int:
    """Run the command line (without the program's name); the exit status."""
    import signal

    initmounts.join(os.environb)
    try:
        # An orderly end: nothing half made is left.  What nohup ignores stays ignored.
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) == signal.SIG_DFL:
                signal.signal(number, _interrupt)
        return _main(argv)
    except NspawnError as error:
        from nspawn.cli.show import clean

        lines = error.render("getroot").split("\n")
        sys.stderr.write("".join(f"{clean(line)}\n" for line in lines))
        return error.status
    except KeyboardInterrupt:
        sys.stderr.write("getroot: cancelled\n")
        return 130


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _main(argv: list[str]) -> int:
    if not argv:
        sys.stderr.write(_HELP)
        return 2
    arguments = _parser().parse_args(argv)
    if arguments.help:
        sys.stdout.write(_HELP)
        return 0
    if arguments.version:
        from nspawn import __version__

        sys.stdout.write(f"getroot {__version__}\n")
        return 0
    from nspawn.cli.base import layout
    from nspawn.model import imageref

    if arguments.list or arguments.search is not None:
        return _list(layout(), arguments)
    reference = _reference(arguments)
    if isinstance(reference, imageref.Builtin):
        return _builtin(layout(), arguments)
    return _fetch(layout(), reference, arguments)


def _parser() -> argparse.ArgumentParser:
    from nspawn.cli.options import Parser

    parser = Parser(prog="getroot", add_help=False)
    parser.add_argument("image", nargs="?")
    parser.add_argument("-d", "--distro")
    parser.add_argument("-r", "--release")
    parser.add_argument("-a", dest="arch")
    parser.add_argument("-o", "--output")
    parser.add_argument("-l", "--list", action="store_true")
    parser.add_argument("-s", "--search")
    parser.add_argument("--cloud", action="store_true")
    parser.add_argument("--force", action="store_true")
    parser.add_argument("-v", "--verbose", action="store_true")
    parser.add_argument("-V", "--version", action="store_true")
    parser.add_argument("-h", "--help", action="store_true")
    imageoptions.add(parser)
    return parser


def _reference(arguments: argparse.Namespace) -> ImageRef:
    """The image that the words and options name together."""
    text, distro = arguments.image, arguments.distro
    if text is not None and distro is not None:
        raise UsageError(
            f"{text[:40]!r} and -d {distro[:40]} name two images", hint="Leave one of them away."
        )
    name = text if text is not None else distro
    if not name:
        raise UsageError("no image is named", hint="As in: getroot debian:13; see also getroot --list")
    if arguments.release is not None:
        release = arguments.release.strip()
        if ":" in name or "/" in name or not release:
            raise UsageError(
                f"-r {release[:40]!r} does not go with {name[:80]!r}", hint="As in: getroot -d debian -r 13"
            )
        name = f"{name}:{release.replace(' ', '-')}"
    elif distro is not None:
        from nspawn.model import imageref

        if not isinstance(imageref.parse(name), imageref.Distribution):
            raise UsageError(f"-d {name[:80]}: this is no distribution", hint=f"Try: getroot {name[:80]}")
    return imageoptions.reference(name, os.environ, arguments.variant)


def _list(layout: Layout, arguments: argparse.Namespace) -> int:
    from nspawn.cli.show import Bar, clean, table
    from nspawn.service.imagestore import Images

    search = arguments.search or ""
    if arguments.list and not search:
        search = arguments.image or arguments.distro or ""
    bar = Bar()
    try:
        found = Images(layout).search(
            search.partition(":")[0], bar, lambda: False, arch=arguments.arch or "", cloud=arguments.cloud
        )
    finally:
        bar.end()
    for note in found.notes:
        sys.stderr.write(f"getroot: {clean(note)}\n")
    if not found.products:
        sys.stderr.write(f"The image server has nothing like {clean(search)!r} for {found.arch}.\n")
        return 1
    rows = [["IMAGE", "ALSO", "SIZE", "BUILT"]]
    for each in found.products:
        also = [*([each.distribution] if each.current else []), *each.also]
        words = [word for word in dict.fromkeys(also) if word not in (each.reference, "default")]
        size = f"{max(1, round(each.size / (1 << 20)))}M"
        rows.append([clean(text) for text in (each.reference, ", ".join(words[:2]), size, each.date)])
    sys.stdout.write(table(rows))
    return 0


def _builtin(layout: Layout, arguments: argparse.Namespace) -> int:
    from nspawn.service import getroot

    used = imageoptions.given(arguments)
    if used:
        raise UsageError(f"{used[0]}: it counts with an image that is fetched", hint="See getroot --help.")
    target = arguments.output or "./builtin"
    getroot.make_builtin(layout, target, _confirm(force=arguments.force))
    return _ready(target)


def _fetch(layout: Layout, reference: ImageRef, arguments: argparse.Namespace) -> int:
    from dataclasses import replace

    from nspawn.cli.create import tell
    from nspawn.cli.show import Bar, clean, size
    from nspawn.model import imageref
    from nspawn.service import getroot, images

    wish = imageoptions.wish(arguments)
    file = None
    if reference == imageref.File(path="-"):
        if sys.stdin.isatty() or arguments.password == "-":
            why = "it is a terminal" if sys.stdin.isatty() else "the password is read from there"
            raise UsageError("there is no image on standard input", why, "Use: getroot - -o DIR < FILE")
        if not arguments.output:
            raise UsageError("the folder has no name", hint="Use: getroot - -o DIR < FILE")
        file = sys.stdin.buffer
    bar = Bar()
    try:
        choice = images.choose(
            layout,
            reference,
            bar,
            lambda: False,
            arch=arguments.arch or "",
            keep=arguments.keep,
            file=file,
        )
        bar.end()
        for note in choice.image.notes:
            sys.stderr.write(f"getroot: {clean(note)}\n")
        target = arguments.output or getroot.default_folder(_name(reference, choice.image))
        if arguments.verbose:
            _tell_image(choice.image, size)
        if choice.image.config is not None and wish.password is None:
            wish = replace(wish, skip=wish.skip | {"password"})  # an application, where nobody logs in
        filled: list[images.Filled] = []

        def fill(path: str, held: int) -> None:
            filled.append(images.fill(layout, choice, path, wish, bar, lambda: False, hold=(held,)))

        getroot.make(layout, target, fill, _confirm(force=arguments.force), bar, lambda: False)
    finally:
        bar.end()
    done = filled[0]
    status = _ready(target)
    tell((*done.left_out, *done.finished.notes), done.finished.password or "")
    if done.image.config is not None:
        import shlex

        command = shlex.join((*done.image.config.entrypoint, *done.image.config.command))
        sys.stderr.write(f"Its own command: {clean(command)}\n" if command else "")
    if arguments.verbose:
        steps = ", ".join(f"{name} {outcome}" for name, outcome in done.finished.steps)
        sys.stderr.write(f"{size(done.bytes)} unpacked; {steps}\n")
    return status


def _name(reference: ImageRef, image: Image) -> str:
    """What the default folder is called after: the release that was found, or the file that was given."""
    from nspawn.model import imageref

    if isinstance(reference, imageref.Distribution):
        return image.reference
    return str(reference)


def _tell_image(image: Image, size: Callable[[float], str]) -> None:
    from nspawn.cli.show import clean

    built = f", built {image.serial}" if image.serial else ""
    much = f", {size(image.size)}" if image.size else ""
    sys.stderr.write(f"{clean(image.title)}{clean(built)}{much}\n")
    for layer in image.layers:
        if layer.blob is not None:
            sys.stderr.write(f"  {layer.blob.digest}\n")
            for url in layer.blob.urls:
                sys.stderr.write(f"  {clean(url)}\n")


def _confirm(*, force: bool) -> Callable[[str], bool]:
    """--force, or a yes on a terminal."""

    def ask(path: str) -> bool:
        if force:
            return True
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            return False
        sys.stderr.write(f"{path} is there already.  Replace it, and lose all that is in it? [y/N] ")
        sys.stderr.flush()
        if sys.stdin.readline().strip().lower() in ("y", "yes"):
            return True
        raise Conflict(f"{path} was left as it is")

    return ask


def _ready(target: str) -> int:
    sys.stdout.write(f"{target} is ready.  Try: nspawn {target}\n")
    return 0
