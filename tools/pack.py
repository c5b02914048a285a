"""Compiles Python files and writes a zip. The bundle's own interpreter runs this, not the machine's.

So byte code and compressed data come from one Python and one zlib, wherever the build runs. Standard library
only; it is started as a program, with a job as JSON on its standard input:

    output   the zip to write
    parts    zips written by this before, whose entries are taken as they are
    files    [name in the zip, file, mode in octal, "compile", "bare" (without docstrings) or ""]
    shown    what tracebacks show as the folder of a compiled file

Of every entry but META-INF, `manifest.sha256` in the zip has a line.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
import marshal
import os
import struct
import sys
import types
import zipfile
import zlib
from typing import NamedTuple

MANIFEST = "manifest.sha256"
#: 1 January 1980, the first day that a zip can tell.
DATE = (1 << 5) | 1


class Entry(NamedTuple):
    """A file as it is in a zip. data: as stored; method: 0 stored, 8 deflated."""

    name: str
    mode: int
    method: int
    crc: int
    size: int
    data: bytes


def entry_of(name: str, mode: int, content: bytes) -> Entry:
    """Deflate a file, where that makes it smaller."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15, 9)
    data = packer.compress(content) + packer.flush()
    crc = zlib.crc32(content)
    if len(data) < len(content):
        return Entry(name, mode, 8, crc, len(content), data)
    return Entry(name, mode, 0, crc, len(content), content)


def write_zip(path: str, entries: list[Entry]) -> None:
    """Write a zip of entries in the order of their names: no folders, no extra fields, no zip64."""
    central = []
    with open(path, "wb") as file:
        for entry in sorted(entries):
            name = entry.name.encode("ascii")
            place = file.tell()
            sizes = (entry.crc, len(entry.data), entry.size, len(name), 0)
            common = (20, 0, entry.method, 0, DATE, *sizes)
            file.write(struct.pack("<I5H3I2H", 0x04034B50, *common) + name + entry.data)
            # 3: modes are those of Unix (APPNOTE 4.4.2).
            attributes = (0o100000 | entry.mode) << 16
            central.append(
                struct.pack("<I6H3I5H2I", 0x02014B50, 0x0314, *common, 0, 0, 0, attributes, place) + name
            )
        place = file.tell()
        size = file.write(b"".join(central))
        file.write(struct.pack("<I4H2IH", 0x06054B50, 0, 0, len(central), len(central), size, place, 0))


def entries_of(path: str) -> tuple[list[Entry], dict[str, str]]:
    """The entries of a part, and its manifest."""
    entries = []
    with zipfile.ZipFile(path) as part, open(path, "rb") as file:
        manifest = dict(line.split("  ")[::-1] for line in part.read(MANIFEST).decode().splitlines())
        for info in part.infolist():
            if info.filename == MANIFEST:
                continue
            # A local header of ours: 30 bytes, then the name.
            file.seek(info.header_offset + 30 + len(info.filename))
            data = file.read(info.compress_size)
            mode = (info.external_attr >> 16) & 0o7777
            entries.append(Entry(info.filename, mode, info.compress_type, info.CRC, info.file_size, data))
    return entries, manifest


def without_docstrings(tree: ast.Module) -> None:
    """Drop what nobody reads on a phone: a tenth of the bundle, and memory of every process.

    Classes with decorators keep theirs: a dataclass without one makes one up, which takes time.
    """
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            if isinstance(node, ast.ClassDef) and node.decorator_list:
                continue
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                # A body must not be empty, and nothing may come before `from __future__`.
                empty = len(node.body) == 1
                node.body[:1] = [ast.copy_location(ast.Pass(), first)] if empty else []


def names_of(code: types.CodeType) -> set[str]:
    """The strings that the interpreter interns because of their place in a code object."""
    found = {code.co_filename, code.co_name, code.co_qualname}
    found.update(code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    return found.union(*(names_of(item) for item in code.co_consts if isinstance(item, types.CodeType)))


class Canonical:
    """Rebuilds a code object so that marshal writes the same bytes each time.

    marshal writes references to objects that are the same, not to equal ones. A name is interned: it is
    another object than an equal constant (a class's `__qualname__`) just when some module that happens to be
    loaded has the name too. Here equal strings become one object.
    """

    def __init__(self, code: types.CodeType) -> None:
        self._texts = {name: sys.intern(name) for name in names_of(code)}
        self._done: dict[int, object] = {}
        self._originals: list[object] = []
        self.code = self._code(code)

    def _code(self, code: types.CodeType) -> types.CodeType:
        return code.replace(
            co_consts=tuple(self._value(item) for item in code.co_consts),
            co_filename=self._texts[code.co_filename],
            co_name=self._texts[code.co_name],
            co_qualname=self._texts[code.co_qualname],
        )

    def _value(self, item: object) -> object:
        if isinstance(item, str):
            return self._texts.setdefault(item, item)
        if not isinstance(item, (types.CodeType, tuple, frozenset)):
            return item
        # What the compiler shared stays shared.
        if id(item) not in self._done:
            self._originals.append(item)
            if isinstance(item, types.CodeType):
                self._done[id(item)] = self._code(item)
            else:
                self._done[id(item)] = type(item)(self._value(part) for part in item)
        return self._done[id(item)]


def reachable(code: types.CodeType) -> list[object]:
    """Everything in a code object.

    Whoever holds this while marshal writes the code gets the same bytes each time: marshal also marks what
    somebody else refers to (FLAG_REF), and for an interned string that is a matter of chance.
    """
    found: list[object] = []
    left: list[object] = [code]
    while left:
        item = left.pop()
        found.append(item)
        if isinstance(item, types.CodeType):
            left += (item.co_consts, item.co_names, item.co_varnames, item.co_freevars, item.co_cellvars)
            left += (item.co_filename, item.co_name, item.co_qualname)
            left += (item.co_linetable, item.co_exceptiontable)
        elif isinstance(item, (tuple, frozenset)):
            left += item
    return found


def dump(code: types.CodeType) -> bytes:
    """The bytes that marshal makes of a code object, whatever this process did before."""
    code = Canonical(code).code
    held = reachable(code)
    data = marshal.dumps(code)
    del held
    return data


def compiled(path: str, shown: str, *, bare: bool) -> bytes:
    """The byte code of a file, as a child of this process makes it. bare: without docstrings.

    A child, so that what was compiled before leaves no trace.
    """
    with open(path, "rb") as file:
        source = file.read()
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            tree = ast.parse(source, shown)
            if bare:
                without_docstrings(tree)
            code = compile(tree, shown, "exec", dont_inherit=True, optimize=0)
            with open(writer, "wb") as file:
                file.write(dump(code))
            os._exit(0)
        except Exception as error:  # noqa: BLE001 (it is told, and the parent fails)
            sys.stderr.write(f"{error}\n")
        finally:
            os._exit(1)
    os.close(writer)
    with open(reader, "rb") as file:
        data = file.read()
    if os.waitpid(pid, 0)[1]:
        sys.exit(f"cannot compile {path}")
    # PEP 552: bound to its source by a hash that is never looked at.
    head = importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little") + importlib.util.source_hash(source)
    return head + data


def main() -> int:
    """Do the job on the standard input."""
    job = json.load(sys.stdin)
    entries: list[Entry] = []
    manifest: dict[str, str] = {}
    for part in job["parts"]:
        found, hashes = entries_of(part)
        entries += found
        manifest |= hashes
    for name, path, mode, what in job["files"]:
        if what:
            content = compiled(path, f"{job['shown']}/{name}", bare=what == "bare")
            name += "c"
        else:
            with open(path, "rb") as file:
                content = file.read()
        entries.append(entry_of(name, int(mode, 8), content))
        if not name.startswith("META-INF/"):
            manifest[name] = hashlib.sha256(content).hexdigest()
    lines = "".join(f"{manifest[name]}  {name}\n" for name in sorted(manifest))
    entries.append(entry_of(MANIFEST, 0o644, lines.encode()))
    if len({entry.name for entry in entries}) != len(entries):
        sys.exit("a name comes twice")
    write_zip(job["output"], entries)
    return 0


if __name__ == "__main__":
    sys.exit(main())
