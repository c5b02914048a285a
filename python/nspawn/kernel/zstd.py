"""libzstd's streams: for machines that have the library and not the program, as phones with our bundle.

Facts: zstd.h, which has kept these functions since 1.4 (2019).
"""

from __future__ import annotations

import ctypes
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_NAME = "libzstd.so.1"
#: Of ZSTD_DCtx_setParameter and ZSTD_CCtx_setParameter.
_WINDOW_LOG_MAX = 100
_LEVEL, _CHECKSUM = 100, 201
#: 128 MiB, as the program allows without asking.
_LARGEST_WINDOW = 27
_USUAL_LEVEL = 3
_CONTINUE, _END = 0, 2
_PIECE = 1 << 17


class _Buffer(ctypes.Structure):
    """ZSTD_inBuffer and ZSTD_outBuffer."""

    _fields_ = (("data", ctypes.c_void_p), ("size", ctypes.c_size_t), ("at", ctypes.c_size_t))


class ZstdError(Exception):
    """The library's own words."""


def find() -> str:
    """The library's file or name; "" when it cannot be loaded."""
    own = f"{os.path.dirname(os.path.dirname(sys.executable))}/lib/{_NAME}"
    for name in (own, _NAME):
        try:
            ctypes.CDLL(name)
        except OSError:
            continue
        return name
    return ""


class _Library:
    """The functions, each declared once."""

    def __init__(self, name: str) -> None:
        library = ctypes.CDLL(name)
        size, pointer, number = ctypes.c_size_t, ctypes.c_void_p, ctypes.c_int
        buffer = ctypes.POINTER(_Buffer)

        def function(name: str, result: type, *arguments: type) -> Callable[..., int]:
            found = library[name]
            found.restype = result
            found.argtypes = arguments
            called: Callable[..., int] = found
            return called

        self.is_error = function("ZSTD_isError", ctypes.c_uint, size)
        self.error_name = library["ZSTD_getErrorName"]
        self.error_name.restype = ctypes.c_char_p
        self.error_name.argtypes = (size,)
        self.new_decoder = function("ZSTD_createDStream", pointer)
        self.new_encoder = function("ZSTD_createCStream", pointer)
        self.set_decoder = function("ZSTD_DCtx_setParameter", size, pointer, number, number)
        self.set_encoder = function("ZSTD_CCtx_setParameter", size, pointer, number, number)
        self.decode = function("ZSTD_decompressStream", size, pointer, buffer, buffer)
        self.encode = function("ZSTD_compressStream2", size, pointer, buffer, buffer, number)

    def check(self, result: int) -> int:
        """ZstdError for a result that is an error's."""
        if self.is_error(result):
            raise ZstdError(self.error_name(result).decode("ascii", "replace"))
        return result


def decompress(name: str, source: int, target: int) -> None:
    """All frames that come from a descriptor, unpacked to another; ZstdError, also for a cut-off one.

    name: from `find`.
    """
    library = _Library(name)
    decoder = library.new_decoder()
    library.check(library.set_decoder(decoder, _WINDOW_LOG_MAX, _LARGEST_WINDOW))
    output = ctypes.create_string_buffer(_PIECE)
    wanted = 1  # 0 at the end of a frame
    while data := os.read(source, _PIECE):
        held = _input(data)
        full = True
        while held.at < held.size or full:
            made = _Buffer(ctypes.cast(output, ctypes.c_void_p), _PIECE, 0)
            wanted = library.check(library.decode(decoder, made, held))
            _write(target, output, made.at)
            full = made.at == _PIECE and wanted != 0
    if wanted:
        raise ZstdError("it ends in the middle")


def compress(name: str, source: int, target: int) -> None:
    """What comes from a descriptor, as one frame to another."""
    library = _Library(name)
    encoder = library.new_encoder()
    for key, value in ((_LEVEL, _USUAL_LEVEL), (_CHECKSUM, 1)):
        library.check(library.set_encoder(encoder, key, value))
    output = ctypes.create_string_buffer(_PIECE)
    more = True
    while more:
        data = os.read(source, _PIECE)
        more = bool(data)
        held = _input(data)
        left = 1
        while held.at < held.size or (left and not more):
            made = _Buffer(ctypes.cast(output, ctypes.c_void_p), _PIECE, 0)
            left = library.check(library.encode(encoder, made, held, _CONTINUE if more else _END))
            _write(target, output, made.at)


def _input(data: bytes) -> _Buffer:
    """What is to be read; the caller holds the bytes meanwhile."""
    return _Buffer(ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p), len(data), 0)


def _write(target: int, output: ctypes.Array[ctypes.c_char], size: int) -> None:
    view = memoryview(output).cast("B")[:size]
    while view:
        view = view[os.write(target, view) :]
