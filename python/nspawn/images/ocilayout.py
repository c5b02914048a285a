"""Images in files: OCI layouts, as a folder or a tar, and what `docker save` and `podman save` write.

Whatever is in them is named by a digest and compared with it while it is read.  Members of a folder are
opened by descriptors and without following links; of a tar only single members are read, and none is
unpacked but the layers.  A tar is read where it is when its path leads to a plain file; what comes by a
pipe, or is compressed as a whole, is first copied to a file without a name (`spool`): what a layer is, is
said at the end of such a tar.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
import weakref
from typing import TYPE_CHECKING, Protocol, Self

from nspawn.errors import Damaged, NotFound, NspawnError
from nspawn.images import spool, tarindex
from nspawn.images.spool import Peeked
from nspawn.model import dockersave, ociconfig, ocimanifest, ociplatform
from nspawn.model.blob import Blob
from nspawn.model.image import LAYER, Image, Layer
from nspawn.model.ocimanifest import Descriptor, Index, Manifest
from nspawn.model.progress import Cancelled

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nspawn.model.dockersave import Saved
    from nspawn.model.progress import Asked, Report

_INDEX, _DOCKER = "index.json", "manifest.json"
#: How the first members of such tars are called; no root file system begins like that.
_FIRST = re.compile(
    r"(\./)?(oci-layout|index\.json|manifest\.json|repositories|blobs(/.*)?|(sha256:)?[0-9a-f]{64}(/.*|\.json|\.tar.*)?)"
)
_CHUNK = 1 << 18


class _Pack(Protocol):
    """A folder or a tar.  open: a descriptor, and where the file begins and how long it is; or None."""

    def open(self, name: str) -> tuple[int, int, int] | None: ...


class LayoutSource:
    """A `model.image.Source` for an image in files.

    title: how people call it.  name: which of its images, "" when there is one.  machine: as uname(2) or
    people name it.  spool_folder: where what cannot be read in any order is copied to.
    """

    def __init__(
        self,
        file: str | Peeked,
        spool_folder: str,
        *,
        title: str,
        name: str = "",
        machine: str = "",
    ) -> None:
        self._file = file
        self._spool = spool_folder
        self._title = title
        self._name = name
        self._machine = ociplatform.parse(machine or os.uname().machine)
        self._pack: _Pack | None = None

    def resolve(self, report: Report, cancelled: Asked) -> Image:
        """Read what it says; what comes by a pipe is copied first, which takes its time.

        Raises NotFound (no such image, or none for this machine), Damaged, Unsupported, Cancelled.
        """
        pack = self._pack = self._open_pack(report, cancelled)
        if _has(pack, _INDEX) and _has(pack, "oci-layout"):
            return self._resolve_layout(pack, cancelled)
        if _has(pack, _DOCKER):
            return self._resolve_saved(pack)
        raise Damaged(
            f"{self._title} holds no image", f"it has neither {_INDEX} with oci-layout nor {_DOCKER}"
        )

    def open(self, layer: Layer) -> Checked:
        """The layer's bytes."""
        assert self._pack is not None
        assert layer.blob is not None
        return _open(self._pack, layer.name, layer.blob.digest, layer.size)

    def _open_pack(self, report: Report, cancelled: Asked) -> _Pack:
        if isinstance(self._file, Peeked):
            copied = spool.spool(self._file, self._file.head, self._spool, report, cancelled)
            return _Tar(copied, cancelled)
        descriptor = os.open(self._file, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if stat.S_ISDIR(os.fstat(descriptor).st_mode):
                return _Folder(os.dup(descriptor))
            head = os.pread(descriptor, spool.HEAD, 0)
            if spool.compression(head):
                with open(os.dup(descriptor), "rb") as packed:
                    return _Tar(spool.spool(packed, head, self._spool, report, cancelled), cancelled)
            return _Tar(os.dup(descriptor), cancelled)
        finally:
            os.close(descriptor)

    def _resolve_layout(self, pack: _Pack, cancelled: Asked) -> Image:
        data = _read(pack, _INDEX)
        document: Index | Manifest = ocimanifest.parse(data, what=f"the index of {self._title}")
        if isinstance(document, Index) and (self._name or len(document.images) > 1):
            document = ocimanifest.named(document, self._name, self._title)
        digest = ocimanifest.digest_of(data)
        for _ in range(ocimanifest.DEEPEST):
            if isinstance(document, Manifest):
                break
            if cancelled():
                raise Cancelled
            chosen = ocimanifest.choose(document, self._machine, self._title)
            digest = chosen.digest
            document = ocimanifest.parse(_read_blob(pack, chosen), chosen.media_type)
        if not isinstance(document, Manifest):
            raise Damaged(
                f"{self._title} cannot be used", "its indexes lead to further indexes, without an end"
            )
        layers = tuple(
            _layer(_blob(each.digest), each.digest, each.size, ocimanifest.compression(each.media_type))
            for each in document.layers
        )
        config = ocimanifest.read(_read_blob(pack, document.config), "the image's configuration")
        return self._image(pack, config, layers, digest)

    def _resolve_saved(self, pack: _Pack) -> Image:
        saved: Saved = dockersave.choose(_read(pack, _DOCKER), self._name, self._title)
        data = _read(pack, saved.config)
        ocimanifest.check(data, saved.config_digest, "the image's configuration")
        config = ocimanifest.read(data, "the image's configuration")
        digests = dockersave.digests(saved, ociconfig.diff_ids(config))
        layers = tuple(
            _layer(name, digest, None, "gz" if name.endswith(".gz") else "tar")
            for name, digest in zip(saved.layers, digests, strict=True)
        )
        return self._image(pack, config, layers, saved.config_digest)

    def _image(
        self, pack: _Pack, config: Mapping[str, object], layers: tuple[Layer, ...], serial: str
    ) -> Image:
        if not ociconfig.suits(config, self._machine):
            raise ocimanifest.missing(self._title, self._machine, [ociconfig.platform(config)])
        settings, notes = ociconfig.parse(config, len(layers))
        return Image(
            reference=self._title,
            title=f"{self._title} ({ociplatform.name(self._machine)})",
            layers=tuple(_measured(pack, layer) for layer in layers),
            config=settings,
            serial=serial,
            arch=ociplatform.name(self._machine),
            notes=notes,
        )


def open_source(
    file: str | Peeked, spool_folder: str, *, title: str = "", machine: str = ""
) -> LayoutSource | None:
    """The source, or None for what is no image: a tar of a root file system, a folder of files.

    file: a path, `PATH#NAME` for one image of several, or what comes in order.  NotFound.
    """
    name = ""
    if isinstance(file, str):
        path, _hash, after = file.rpartition("#")
        if path and not os.path.lexists(file):
            file, name = path, after
        if not _is_image_at(file):
            return None
        title = title or os.path.basename(os.path.abspath(file))
    elif not is_image(file.head):
        return None
    shown = "".join(char if char.isprintable() else "?" for char in title)[:200]
    return LayoutSource(file, spool_folder, title=shown or "the image", name=name, machine=machine)


def is_image(head: bytes) -> bool:
    """Whether a tar (packed or not) that begins like this is an image and no root file system."""
    names = tarindex.first_names(spool.beginning(head, 1 << 16))
    first = [name.removesuffix("/") for name in names if name.strip("./")][:2]
    return bool(first) and all(_FIRST.fullmatch(name) for name in first)


def _is_image_at(path: str) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise NotFound(f"there is no file {path}") from None
    except OSError as error:
        raise NspawnError(f"{path} cannot be read", error.strerror or str(error)) from None
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            folder = _Folder(os.dup(descriptor))
            return _has(folder, "oci-layout") or _has(folder, _DOCKER)
        return stat.S_ISREG(mode) and is_image(os.pread(descriptor, spool.HEAD, 0))
    finally:
        os.close(descriptor)


class _Folder:
    """descriptor: of the folder; it is closed with this."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        weakref.finalize(self, os.close, descriptor)

    def open(self, name: str) -> tuple[int, int, int] | None:
        *folders, last = name.split("/")
        if not all(folders) or last in ("", ".", "..") or {".", ".."} & set(folders):
            return None
        at = os.dup(self._descriptor)
        try:
            for folder in folders:
                below = os.open(
                    folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at
                )
                os.close(at)
                at = below
            file = os.open(last, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=at)
        except FileNotFoundError:
            return None
        except OSError as error:
            why = error.strerror or str(error)
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                why = "it is a link, or no folder; links are not followed"
            raise Damaged(f"{name} of the image cannot be read", why) from None
        finally:
            os.close(at)
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            os.close(file)
            raise Damaged(f"{name} of the image cannot be read", "it is not a file")
        return file, 0, status.st_size


class _Tar:
    """descriptor: of the tar, not compressed; it is closed with this."""

    def __init__(self, descriptor: int, cancelled: Asked) -> None:
        self._descriptor = descriptor
        weakref.finalize(self, os.close, descriptor)
        self._members = tarindex.scan(descriptor, cancelled)

    def open(self, name: str) -> tuple[int, int, int] | None:
        member = tarindex.look_up(self._members, name)
        return None if member is None else (os.dup(self._descriptor), member.offset, member.size)


class Checked:
    """A part of a file that must have this digest: the read that finds its end tells when it has not.

    descriptor: closed with this.  size: what it must have; found: what it has.
    """

    def __init__(self, descriptor: int, offset: int, size: int, digest: str, what: str) -> None:
        self.size: int | None = size
        self.done = 0
        self._length = size
        self._offset = offset
        self._digest = digest
        self._what = what
        self._hash = hashlib.sha256()
        self._descriptor = descriptor
        self.close = weakref.finalize(self, os.close, descriptor)

    def read(self, size: int = -1, /) -> bytes:
        """At most `size` bytes; none at the end.  Damaged when they were not what they must be."""
        left = self._length - self.done
        wanted = left if size < 0 else min(size, left)
        data = os.pread(self._descriptor, wanted, self._offset + self.done) if wanted else b""
        if len(data) < min(wanted, 1):
            raise Damaged(f"{self._what} cannot be read", "the file became shorter meanwhile")
        self._hash.update(data)
        self.done += len(data)
        if self.done == self._length and not data:
            found = f"sha256:{self._hash.hexdigest()}"
            if found != self._digest:
                raise Damaged(
                    f"{self._what} is not what it should be", f"its digest is {found} and not {self._digest}"
                )
        return data

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


def _has(pack: _Pack, name: str) -> bool:
    found = pack.open(name)
    if found is not None:
        os.close(found[0])
    return found is not None


def _open(pack: _Pack, name: str, digest: str, size: int | None) -> Checked:
    found = pack.open(name)
    if found is None:
        raise Damaged("the image is not whole", f"it has no {name[:100]}")
    descriptor, offset, length = found
    what = f"{name[:100]} of the image"
    if size is not None and size != length:
        os.close(descriptor)
        raise Damaged(f"{what} is not what it should be", f"it has {length} bytes and not {size}")
    return Checked(descriptor, offset, length, digest, what)


def _read(pack: _Pack, name: str) -> bytes:
    """A small file, whole."""
    found = pack.open(name)
    if found is None:
        raise Damaged("the image is not whole", f"it has no {name[:100]}")
    descriptor, offset, length = found
    try:
        if length > ocimanifest.LARGEST_DOCUMENT:
            raise Damaged(f"{name[:100]} of the image cannot be read", f"it has {length} bytes")
        return os.pread(descriptor, length, offset)
    finally:
        os.close(descriptor)


def _read_blob(pack: _Pack, part: Descriptor) -> bytes:
    data = _read(pack, _blob(part.digest))
    ocimanifest.check(data, part.digest, f"{part.digest} of the image")
    if len(data) != part.size:
        raise Damaged(f"{part.digest} of the image is not what it should be", f"it has {len(data)} bytes")
    return data


def _blob(digest: str) -> str:
    algorithm, _colon, digits = digest.partition(":")
    return f"blobs/{algorithm}/{digits}"


def _layer(name: str, digest: str, size: int | None, packed: str) -> Layer:
    return Layer(kind=LAYER, blob=Blob(digest=digest, size=size), name=name, size=size, compression=packed)


def _measured(pack: _Pack, layer: Layer) -> Layer:
    """With its size, and there."""
    assert layer.blob is not None
    with _open(pack, layer.name, layer.blob.digest, layer.size) as found:
        return _layer(layer.name, layer.blob.digest, found.size, layer.compression)
