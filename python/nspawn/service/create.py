"""Making a container from an image, the built-in root file system, an archive or a folder."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, BinaryIO

from nspawn.errors import Conflict, NotFound, NspawnError, UsageError
from nspawn.images import builtin, tarball
from nspawn.model.finish import FinishWish
from nspawn.model.imageref import ImageRef
from nspawn.model.progress import Asked, Progress, Report
from nspawn.model.settings import Settings
from nspawn.service import files, making, publish, slots, store

if TYPE_CHECKING:
    from nspawn.layout import Layout
    from nspawn.model.image import Image


@dataclass(frozen=True, kw_only=True)
class Builtin:
    """The root file system that comes along."""


@dataclass(frozen=True)
class Folder:
    """A folder of the user's.  path: absolute."""

    path: str


@dataclass(frozen=True)
class Tarball:
    """A tar archive.  file: a path or an open binary file; size: of the open one, in bytes, if known."""

    file: str | BinaryIO
    size: int | None = None


@dataclass(frozen=True, kw_only=True)
class FromImage:
    """An image by its name.

    arch: "" for this machine's.  wish: what is done after it is unpacked; its network is that of the
    settings.  keep: what is fetched is stored as well.  file: an open archive, instead of the path of a
    `File`; size: of it, in bytes, if known.
    """

    reference: ImageRef
    arch: str = ""
    wish: FinishWish = field(default_factory=FinishWish)
    keep: bool = False
    file: BinaryIO | None = None
    size: int | None = None


Source = Builtin | Folder | Tarball | FromImage


@dataclass(frozen=True, kw_only=True)
class CreateRequest:
    """settings: image and rootfs in them are set from the source.  given: keys of those that the user has
    set: an image's own settings do not count against them.  publish_all: lead to all its exposed ports.
    """

    name: str
    source: Source
    settings: Settings = field(default_factory=Settings)
    given: frozenset[str] = frozenset()
    publish_all: bool = False


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What there is to tell of a new container.  password: of its root, to be shown once and nowhere kept;
    "" when there is none to show.  notes: what a person should know.
    """

    password: str = field(default="", repr=False)
    notes: tuple[str, ...] = ()


def create(place: store.Store, request: CreateRequest, report: Report, cancelled: Asked) -> Outcome:
    """Make the container; whatever ends it early, nothing is left."""
    outcome = Outcome()
    if request.publish_all:
        publish.check(request.settings)
        if not isinstance(request.source, FromImage):
            asked, notes = publish.published(request.settings, request.settings.exposed_ports)
            request, outcome = replace(request, settings=asked), Outcome(notes=notes)

    def fill(new: making.New) -> Settings:
        nonlocal outcome
        if isinstance(request.source, FromImage):
            settings, outcome = _fetch(place, request, request.source, new, report, cancelled)
            return settings
        return _fill(place.layout, request, request.source, new, report, cancelled)

    making.make(place, request.name, request.settings, fill, report, cancelled)
    return outcome


def _fetch(
    place: store.Store,
    request: CreateRequest,
    source: FromImage,
    new: making.New,
    report: Report,
    cancelled: Asked,
) -> tuple[Settings, Outcome]:
    """Put an image's root file system into the folder; the settings are the user's and the image's."""
    from nspawn.service import images, imagesettings  # dear: the libraries that fetch

    layout, rootfs = place.layout, new.make_rootfs()
    choice = images.choose(
        layout,
        source.reference,
        report,
        cancelled,
        arch=source.arch,
        keep=source.keep,
        file=source.file,
        size=source.size,
    )
    asked, told = request.settings, tuple[str, ...]()
    if request.publish_all:
        asked, told = publish.published(asked, _exposed(request, choice.image))
        slots.check(place, request.name, asked)  # before it is fetched: a port may be somebody's
    wish = replace(source.wish, network=request.settings.network.mode)
    if choice.image.config is not None and wish.password is None:
        wish = replace(wish, skip=wish.skip | {"password"})  # an application, where nobody logs in
    filled = images.fill(layout, choice, rootfs, wish, report, cancelled, hold=(new.at,))
    image = filled.image
    settings, notes = imagesettings.combined(asked, request.given, image, rootfs)
    outcome = Outcome(
        password=filled.finished.password or "",
        notes=(*filled.notes, *notes, *told),
    )
    return replace(settings, image=_printable(image.reference), rootfs=""), outcome


def _exposed(request: CreateRequest, image: Image) -> tuple[str, ...]:
    """What the container listens at: as the user says, else as the image does."""
    if "exposed_ports" in request.given or image.config is None:
        return request.settings.exposed_ports
    return image.config.ports


def _fill(
    layout: Layout,
    request: CreateRequest,
    source: Builtin | Folder | Tarball,
    new: making.New,
    report: Report,
    cancelled: Asked,
) -> Settings:
    """Put the root file system into the folder; the settings with their image and rootfs."""
    if isinstance(source, Folder):
        return replace(request.settings, image="folder", rootfs=check_folder(layout, source.path))
    rootfs = new.make_rootfs()
    if isinstance(source, Builtin):
        report(Progress(phase="making the root file system"))
        builtin.make(rootfs, builtin.find_busybox(os.uname().machine))
        return replace(request.settings, image="builtin", rootfs="")
    with ExitStack() as undo:
        if isinstance(source.file, str):
            image, file, size = os.path.basename(source.file), undo.enter_context(_open(source.file)), None
            size = os.fstat(file.fileno()).st_size
        else:
            image, file, size = "archive", source.file, source.size
        tarball.extract(file, rootfs, report, cancelled, size=size, keep=(new.at,))
    return replace(request.settings, image=_printable(image), rootfs="")


def check_folder(layout: Layout, path: str) -> str:
    """The real path of a folder that can be a container's rootfs; NotFound, UsageError or Damaged."""
    if not path.startswith("/"):
        raise UsageError("the rootfs needs an absolute path", f"{path[:80]!r} does not begin with '/'")
    real = os.path.realpath(path)
    if os.path.isfile(real):
        raise UsageError(f"{path} is a file, no folder", hint=f"If it is an archive: --tar {path}.")
    if not os.path.isdir(real):
        raise NotFound(f"there is no folder {path}")
    if not real.isprintable():
        raise UsageError(f"the path {real!r} cannot be written in the settings", "it is not plain text")
    state = os.path.realpath(layout.root)
    if real == "/" or f"{state}/".startswith(f"{real}/") or real.startswith(f"{state}/"):
        raise UsageError(
            f"{path} cannot be a container's rootfs",
            "it is, or holds, or is in, the state of nspawn" if real != "/" else "it is the host's own",
            "Use a folder of its own.",
        )
    tarball.check(real)
    return real


def _open(path: str) -> BinaryIO:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise NotFound(f"there is no file {path}") from None
    except OSError as error:
        raise NspawnError(f"{path} cannot be read", error.strerror or str(error)) from None
    if os.path.isdir(f"/proc/self/fd/{descriptor}"):
        os.close(descriptor)
        raise UsageError(f"{path} is a folder, no archive", hint=f"If it holds a system: --rootfs {path}.")
    file = open(descriptor, "rb")  # noqa: SIM115  (the caller closes it)
    import stat

    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        file.close()
        raise UsageError(f"{path} is not an archive", "it is not a file")
    return file


def make_builtin(target: str) -> None:
    """Make the built-in root file system in a new folder; nothing is left of a failure."""
    parent, name = os.path.split(os.path.abspath(target))
    try:
        with files.folder(parent) as at, ExitStack() as undo:
            busybox = builtin.find_busybox(os.uname().machine)
            os.mkdir(name, 0o755, dir_fd=at)
            undo.callback(making.discard, name, at)
            builtin.make(f"{parent}/{name}", busybox)
            undo.pop_all()
    except FileExistsError:
        raise Conflict(f"{target} is there already", hint="Name another folder: -o DIR") from None
    except OSError as error:
        raise files.system_error(f"{target} was not made", error) from None


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)[:200]
