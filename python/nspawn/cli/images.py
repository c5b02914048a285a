"""`nspawn image`: what can be had, what is kept, and who we are to registries."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from nspawn.cli import base, registry
from nspawn.errors import Damaged

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from nspawn.errors import NspawnError
    from nspawn.service.imagestore import Images, Stored


def add(image: argparse.ArgumentParser, kind: type[Any]) -> None:
    """The words behind `nspawn image`.  kind: the class of their parsers."""
    words = image.add_subparsers(dest="action", required=True, metavar="ACTION", parser_class=kind)

    def word(name: str, text: str, call: Callable[[argparse.Namespace], int]) -> argparse.ArgumentParser:
        found: argparse.ArgumentParser = words.add_parser(name, help=text, description=f"{text}.")
        found.set_defaults(call=call)
        return found

    show = word("list", "Show the images that are kept (create --image ... --keep)", _list)
    show.add_argument("--json", action="store_true", help="for programs")
    search = word("search", "Show what the image server has for this machine", _search)
    search.add_argument("text", nargs="?", default="", metavar="DISTRIBUTION", help="or a part of its name")
    search.add_argument("--arch", default="", metavar="ARCH", help="for another machine")
    search.add_argument("--cloud", action="store_true", help="also the variant with cloud-init")
    search.add_argument("--json", action="store_true", help="for programs")
    info = word("info", "Show a kept image, or what a name leads to now", _info)
    info.add_argument("image", metavar="IMAGE", help="an id of `image list`, or as in create --image")
    info.add_argument("--arch", default="", metavar="ARCH", help="for another machine")
    info.add_argument("--json", action="store_true", help="for programs")
    gone = word("rm", "Remove kept images; containers made from them stay", _rm)
    gone.add_argument("image", nargs="+", metavar="IMAGE", help="an id of `image list`, or its name")
    prune = word("prune", "Remove what no kept image needs, and what broken downloads left", _prune)
    prune.add_argument("--all", action="store_true", help="all kept images too")
    registry.add(words)
    word("verify", "Read all that is kept, and check its hashes", _verify)


def _images() -> Images:
    from nspawn.service.imagestore import Images

    return Images(base.layout())


def _list(arguments: argparse.Namespace) -> int:
    from nspawn.cli.show import clean, size, table
    from nspawn.service import clock

    images = _images()
    found = images.kept()
    if arguments.json:
        return base.say_json([each.as_dict() for each in found])
    for problem in images.problems():
        sys.stderr.write(f"nspawn: {clean(problem)}\n")
    if not found:
        sys.stderr.write("No image is kept.  One that is: nspawn create box --image debian:13 --keep\n")
        return 0
    rows = [["ID", "IMAGE", "ARCH", "SIZE", "FETCHED", "STATE"]]
    for each in found:
        kept = each.kept
        row = [kept.id, kept.reference, kept.arch, size(kept.size), clock.local(kept.date), _state(each)]
        rows.append([clean(text) for text in row])
    sys.stdout.write(table(rows))
    return 0


def _state(stored: Stored) -> str:
    return f"{len(stored.missing)} of {len(stored.kept.parts)} parts are gone" if stored.missing else "whole"


def _search(arguments: argparse.Namespace) -> int:
    from nspawn.cli.show import Bar, clean, size, table

    bar = Bar()
    try:
        found = _images().search(
            arguments.text, bar, lambda: False, arch=arguments.arch, cloud=arguments.cloud
        )
    finally:
        bar.end()
    if arguments.json:
        return base.say_json(found.as_dict())
    for note in found.notes:
        sys.stderr.write(f"nspawn: {clean(note)}\n")
    if not found.products:
        sys.stderr.write(f"The image server has nothing like {arguments.text!r} for {found.arch}.\n")
        return 1
    rows = [["IMAGE", "ALSO", "TITLE", "ARCH", "SIZE", "BUILT"]]
    for each in found.products:
        row = [each.reference, ", ".join(each.also), each.title, each.arch, size(each.size), each.date]
        rows.append([clean(text) for text in row])
    sys.stdout.write(table(rows))
    return 0


def _info(arguments: argparse.Namespace) -> int:
    from nspawn.errors import NotFound

    images = _images()
    try:
        found = images.get(arguments.image).as_dict()
    except NotFound:
        found = _resolved(arguments)
    if arguments.json:
        return base.say_json(found)
    from nspawn.cli.show import clean

    rows = [(key, _plain(value)) for key, value in found.items() if value not in (None, "", [], {})]
    width = max(len(key) for key, _value in rows)
    sys.stdout.write("".join(f"{key.ljust(width)}  {clean(value)}\n" for key, value in rows))
    return 0


def _resolved(arguments: argparse.Namespace) -> dict[str, Any]:
    import os

    from nspawn.cli import imageoptions
    from nspawn.cli.show import Bar

    bar = Bar()
    try:
        reference = imageoptions.reference(arguments.image, os.environ)
        return _images().resolve(reference, bar, lambda: False, arch=arguments.arch)
    finally:
        bar.end()


def _plain(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return " ".join(str(each) for each in value)
    if isinstance(value, dict):
        return " ".join(f"{key}={text}" for key, text in value.items())
    return str(value)


def _rm(arguments: argparse.Namespace) -> int:
    from nspawn.cli.show import clean, size

    status = 0
    for name in arguments.image:
        freed = _images().remove(name)
        base.say(f"removed {clean(name)}; {size(freed.bytes)} are free again")
        status = max(status, _tell(freed.problems))
    return status


def _tell(problems: tuple[NspawnError, ...]) -> int:
    """Why nothing could be removed: an image that cannot be read may need any of it; the exit status."""
    for problem in problems:
        sys.stderr.write(f"{problem.render('nspawn')}\n")
    return 1 if problems else 0


def _prune(arguments: argparse.Namespace) -> int:
    from nspawn.cli.show import Bar, size

    bar = Bar()
    try:
        freed = _images().prune(bar, lambda: False, everything=arguments.all)
    finally:
        bar.end()
    files = "1 file" if freed.count == 1 else f"{freed.count} files"
    base.say(f"removed {files}; {size(freed.bytes)} are free again")
    return _tell(freed.problems)


def _verify(_arguments: argparse.Namespace) -> int:
    from nspawn.cli.show import Bar

    bar = Bar()
    try:
        damaged = _images().verify(bar, lambda: False)
    finally:
        bar.end()
    if damaged:
        raise Damaged(
            f"{len(damaged)} kept files are damaged",
            ", ".join(damaged),
            "Remove their images (nspawn image rm) and fetch them again.",
        )
    base.say("all that is kept is whole")
    return 0
