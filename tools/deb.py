"""Reads Debian packages: an ar archive that holds data.tar (man 5 deb)."""

from __future__ import annotations

import io
import lzma
import posixpath
import tarfile

from tools.process import BuildError


def data_of_deb(deb: bytes) -> tarfile.TarFile:
    """The archive of a package's files. Raises BuildError when there is none."""
    if deb[:8] != b"!<arch>\n":
        raise BuildError("this is no Debian package")
    position = 8
    while position + 60 <= len(deb):
        header = deb[position : position + 60]
        size = int(header[48:58])
        if header[:16].rstrip(b" /") == b"data.tar.xz":
            content = deb[position + 60 : position + 60 + size]
            return tarfile.open(fileobj=io.BytesIO(lzma.decompress(content)))
        position += 60 + size + size % 2
    raise BuildError("this Debian package has no data.tar.xz")


def member_of_deb(deb: bytes, name: str) -> bytes:
    """A file of a .deb. Raises BuildError without it."""
    with data_of_deb(deb) as archive:
        for member in archive:
            file = archive.extractfile(member) if member.name.removeprefix("./") == name else None
            if file:
                return file.read()
    raise BuildError(f"this Debian package has no {name}")


class Files:
    """The files of several packages, by their path without the leading slash; links are followed by name."""

    def __init__(self) -> None:
        self._data: dict[str, bytes] = {}
        self._links: dict[str, str] = {}

    def add(self, deb: bytes) -> None:
        """Take the files of a package."""
        with data_of_deb(deb) as archive:
            for member in archive:
                name = posixpath.normpath(member.name)
                file = archive.extractfile(member) if member.isreg() else None
                if file:
                    self._data[name] = file.read()
                elif member.islnk():
                    self._links[name] = posixpath.normpath(member.linkname)
                elif member.issym():
                    target = posixpath.join("/", posixpath.dirname(name), member.linkname)
                    self._links[name] = posixpath.normpath(target).lstrip("/")

    def below(self, folder: str) -> dict[str, bytes]:
        """The regular files below a folder, by their path in it."""
        start = folder + "/"
        return {name[len(start) :]: data for name, data in self._data.items() if name.startswith(start)}

    def read(self, name: str) -> bytes:
        """A file, where its path or a folder of it may be a link. Raises BuildError without it."""
        for _ in range(16):
            if name in self._data:
                return self._data[name]
            links = [link for link in self._links if name == link or name.startswith(link + "/")]
            if not links:
                break
            link = max(links, key=len)
            name = self._links[link] + name[len(link) :]
        raise BuildError(f"no {name} in the Debian packages of the bundle")
