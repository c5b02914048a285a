"""Images: from a reference to a complete root file system."""

from __future__ import annotations

import os
import time
from collections import deque
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, BinaryIO

from nspawn.android import resolver
from nspawn.errors import Damaged, NotFound, NspawnError
from nspawn.images import finish, tarball
from nspawn.images.blobs import Blobs, Kept
from nspawn.images.fetch import Fetcher
from nspawn.images.http import Client
from nspawn.model.image import LAYER
from nspawn.model.imageref import Distribution
from nspawn.model.progress import Cancelled, Progress
from nspawn.service import config, files, finishing
from nspawn.service.imagesources import Network, source_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nspawn.layout import Layout
    from nspawn.model.finish import Finished, FinishWish
    from nspawn.model.image import Image, Layer, LayerStream, Source
    from nspawn.model.imageref import ImageRef
    from nspawn.model.progress import Asked, Report

#: Bytes of the disk that stay free.
RESERVE = 64 << 20
#: Layers that arrive at once: one is unpacked, the others fill their buffers meanwhile.
_AHEAD = 3
#: How often an image is fetched whose bytes are found to be wrong; from another host, if there is one.
_ATTEMPTS = 3
_CHUNK = 1 << 18


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What a reference stands for now, and what of it can be read.  keep: it is stored as well."""

    source: Source
    image: Image
    keep: bool = False


@dataclass(frozen=True, kw_only=True)
class Filled:
    """What a root file system was made from.

    finished: what was done after the extraction (the password is in it).  bytes: of the content; left_out:
    what this file system or kernel did not take of it, in words.
    """

    image: Image
    finished: Finished
    bytes: int
    left_out: tuple[str, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know of how it was made."""
        return (*self.image.notes, *self.left_out, *self.finished.notes)


def network(layout: Layout, cancelled: Asked, *, keep: bool = False) -> Network:
    """What fetching needs, by config.toml and the environment; names are looked up as the phone does.

    keep: store what is fetched, also when config.toml does not say so.
    """
    resolver.install()
    fetching = config.fetching(layout)
    client = Client(fetching, cancelled=cancelled)
    store = Blobs(layout.images)
    return Network(
        layout=layout,
        environ=os.environ,
        fetching=fetching,
        client=client,
        fetcher=Fetcher(client, fetching, cancelled, store=store),
        cancelled=cancelled,
        store=store,
        keep=store if keep or fetching.keep else None,
    )


def choose(
    layout: Layout,
    reference: ImageRef,
    report: Report,
    cancelled: Asked,
    *,
    arch: str = "",
    keep: bool = False,
    file: BinaryIO | None = None,
    size: int | None = None,
) -> Choice:
    """Resolve the reference: only an index or a manifest is fetched.

    arch: "" for this machine's.  keep: `fill` stores what it fetches.  file: an open archive (standard
    input, an upload), with a `File` reference; size: of it.  Raises NotFound, Damaged, Unreachable.
    """
    needed = network(layout, cancelled, keep=keep)
    source = source_of(needed, reference, arch=arch, file=file, size=size)
    try:
        image = source.resolve(report, cancelled)
    except NotFound as error:
        if (
            not isinstance(reference, Distribution)
            or reference.release
            or "no distribution" not in error.what
        ):
            raise
        hint = f"If it is an image of a registry: docker://{reference.name}.  {error.hint}"
        raise NotFound(error.what, error.why, hint) from None
    return Choice(source=source, image=image, keep=needed.keep is not None)


def fill(
    layout: Layout,
    choice: Choice,
    target: str,
    wish: FinishWish,
    report: Report,
    cancelled: Asked,
    *,
    hold: Sequence[int] = (),
) -> Filled:
    """Put the image into the empty folder `target`, which is the caller's to remove after a failure.

    hold: descriptors that the unpacking process keeps open.  Checks the free space, fetches, verifies and
    unpacks at once, finishes (`images.finish`), and notes the image in the index when it is kept.
    """
    image = choice.image
    fetched = any(layer.blob is not None and layer.blob.urls for layer in image.layers)
    with ExitStack() as undo:
        if choice.keep and fetched:
            undo.enter_context(Blobs(layout.images).storing(cancelled))
        check_space(target, image, _missing(layout, image) if choice.keep else 0)
        count, left_out = _unpack_surely(choice, target, report, cancelled, hold)
        if image.config is None or not (image.config.entrypoint or image.config.command):
            tarball.check(target)  # else there may be one program in it, and no shell
        if cancelled():
            raise Cancelled
        report(Progress(phase="finishing"))  # eight small steps: nobody would see them counted
        finished = finish.finish(target, wish, finishing.facts(layout), _silent)
        if choice.keep:
            _note(layout, image)
    return Filled(image=image, finished=finished, bytes=count, left_out=left_out)


class _WrongBytes(Exception):
    """What was fetched is not what it had to be.  error: for a person."""

    def __init__(self, error: Damaged) -> None:
        super().__init__(str(error))
        self.error = error


class _Watched:
    """A stream that remembers that its bytes were found to be wrong ones."""

    def __init__(self, stream: LayerStream) -> None:
        self._stream = stream
        self.wrong: Damaged | None = None

    def read(self, size: int = -1, /) -> bytes:
        """As the stream's."""
        try:
            return self._stream.read(size)
        except Damaged as error:
            self.wrong = error
            raise

    def judge(self) -> Damaged | None:
        """Why the bytes are wrong, or None: the rest is read for it, the hash tells at the end only."""
        try:
            while self.wrong is None and self.read(_CHUNK):
                pass
        except Damaged as error:
            return error
        return self.wrong


def _unpack_surely(
    choice: Choice, target: str, report: Report, cancelled: Asked, hold: Sequence[int]
) -> tuple[int, tuple[str, ...]]:
    """Unpack, also when a mirror sends something else: that host is asked last from then on."""
    notes: list[str] = []
    while True:
        try:
            count, left_out = _unpack(choice, target, report, cancelled, hold)
        except _WrongBytes as wrong:
            if len(notes) + 1 == _ATTEMPTS:
                raise wrong.error from None
            notes.append(f"fetched again: {wrong.error}")
            report(Progress(phase="starting again"))
            _empty(target)
        else:
            return count, (*notes, *left_out)


def _unpack(
    choice: Choice, target: str, report: Report, cancelled: Asked, hold: Sequence[int]
) -> tuple[int, tuple[str, ...]]:
    """All layers; bytes of content, and what was left out.  Raises _WrongBytes when another try may help."""
    count = done = 0
    left_out: dict[str, None] = {}
    with ExitStack() as undo:
        for layer, stream in _streams(choice, undo):
            watched = _Watched(stream)
            try:
                unpacked = tarball.extract(
                    watched,
                    target,
                    _onwards(report, layer, done, choice.image.size),
                    cancelled,
                    size=layer.size,
                    keep=hold,
                    layer=layer.kind == LAYER,
                )
            except Damaged:
                wrong = watched.judge() if layer.blob is not None and layer.blob.urls else None
                if wrong is None:
                    raise  # it is as it was made
                raise _WrongBytes(wrong) from None
            stream.close()
            count, done = count + unpacked.bytes, done + (layer.size or 0)
            left_out.update(dict.fromkeys(unpacked.notes))
    return count, tuple(left_out)


def _empty(target: str) -> None:
    """Remove what is in the folder."""
    with files.folder(target) as at:
        with os.scandir(at) as found:
            entries = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in found]
        for name, is_folder in entries:
            if is_folder:
                files.remove_tree(name, at)
            else:
                os.unlink(name, dir_fd=at)


def check_space(target: str, image: Image, stored: int = 0) -> None:
    """Refuse what cannot fit: about the content's size, by the archives' and their compression.

    stored: bytes that are kept besides.  What passes is counted again while it is unpacked.
    """
    needed = image.estimate + stored
    disk = os.statvfs(target)
    free = max(0, disk.f_bavail * disk.f_frsize - RESERVE)
    if needed <= free:
        return
    raise NspawnError(
        f"there is not enough space for {image.title}",
        f"it takes about {_mib(needed)} and {_mib(free)} are free",
        f"Free about {_mib(needed - free)} first, or use a smaller image.",
    )


def _note(layout: Layout, image: Image) -> None:
    blobs = Blobs(layout.images)
    digests = tuple(layer.blob.digest for layer in image.layers if layer.blob is not None)
    if not digests or not all(blobs.has(digest) for digest in digests):
        return  # a file of the user's is not stored
    documents = tuple(blobs.put(document) for document in image.documents)
    record = Kept(
        reference=image.reference,
        title=image.title,
        digests=digests,
        arch=image.arch,
        serial=image.serial,
        date=image.since or int(time.time()),
        size=image.size or 0,
        documents=documents,
    )
    blobs.note(record)


def _mib(count: int) -> str:
    return f"{-(-count >> 20)} MiB"


def _missing(layout: Layout, image: Image) -> int:
    blobs = Blobs(layout.images)
    return sum(
        layer.size or 0
        for layer in image.layers
        if layer.blob is not None and not blobs.has(layer.blob.digest)
    )


def _streams(choice: Choice, undo: ExitStack) -> Iterator[tuple[Layer, LayerStream]]:
    """Every layer with its stream, in order; the next ones are opened early."""
    waiting: deque[tuple[Layer, LayerStream]] = deque()
    for layer in choice.image.layers:
        waiting.append((layer, undo.enter_context(closing(choice.source.open(layer)))))
        if len(waiting) == _AHEAD:
            yield waiting.popleft()
    yield from waiting


def _silent(_step: Progress) -> None:
    pass


def _onwards(report: Report, layer: Layer, before: int, total: int | None) -> Report:
    """The progress of one layer as that of the image."""
    fetched = layer.blob is not None and layer.blob.urls

    def tell(step: Progress) -> None:
        phase = f"fetching and {step.phase}" if fetched else step.phase
        report(replace(step, phase=phase, done=before + step.done, total=total))

    return tell
