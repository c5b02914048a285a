"""A poorer kernel for the whole virtual phone: an arm64 program that sets a seccomp filter and goes on.

Debian's kernels have every namespace built in; the filter of poor_kernel.py stands for one without. There is
no compiler and no Python in the phone when its first process starts, so this program is made here, by hand.
"""

from __future__ import annotations

import struct

_BASE = 0x400000
_HEADERS = 64 + 56

#: prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program); execve(argv[1], argv + 1, environ); else exit(127)
_CODE = (
    0xD28002C0,  # mov  x0, #22
    0xD2800041,  # mov  x1, #2
    0x100001C2,  # adr  x2, program (after the code)
    0xD28014E8,  # mov  x8, #167 (prctl)
    0xD4000001,  # svc  #0
    0xB5000100,  # cbnz x0, exit
    0xF94003E9,  # ldr  x9, [sp] (argc)
    0x910043E1,  # add  x1, sp, #16 (argv + 1)
    0xF9400020,  # ldr  x0, [x1]
    0x8B296FE2,  # add  x2, sp, x9, lsl #3
    0x91004042,  # add  x2, x2, #16 (environ)
    0xD2801BA8,  # mov  x8, #221 (execve)
    0xD4000001,  # svc  #0
    0xD2800FE0,  # exit: mov x0, #127
    0xD2800BA8,  # mov  x8, #93 (exit)
    0xD4000001,  # svc  #0
)


def launcher(program: bytes) -> bytes:
    """An ELF file that starts its arguments below a filter. program: BPF instructions, 8 bytes each."""
    code = struct.pack(f"<{len(_CODE)}I", *_CODE)
    at = _BASE + _HEADERS + len(code) + 16
    body = code + struct.pack("<HxxxxxxQ", len(program) // 8, at) + program  # struct sock_fprog
    size = _HEADERS + len(body)
    # elf(5): ident; executable, aarch64, version, entry, segments' place, none of sections, sizes and counts
    ident = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    head = struct.pack("<HHIQQQIHHHHHH", 2, 183, 1, _BASE + _HEADERS, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    # One segment, readable and executable: the whole file.
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x10000)
    return ident + head + segment + body
