"""A password as /etc/shadow holds it, crypt(5) `$6$`: Python has no crypt module since 3.13.

The algorithm: "Unix crypt using SHA-256 and SHA-512", https://www.akkadia.org/drepper/SHA-crypt.txt
"""

from __future__ import annotations

import hashlib
import secrets

_ALPHABET = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_ROUNDS = 5000
_LONGEST_SALT = 16


def crypt(password: str, salt: str = "") -> str:
    """The text for the second field.  salt: up to 16 of [./0-9A-Za-z]; a random one by default."""
    salt = (salt or "".join(secrets.choice(_ALPHABET) for _ in range(_LONGEST_SALT)))[:_LONGEST_SALT]
    return f"$6${salt}${_spell(_digest(password.encode(), salt.encode()))}"


def _digest(key: bytes, salt: bytes) -> bytes:
    sha512 = hashlib.sha512
    other = sha512(key + salt + key).digest()
    mixed = bytearray(key + salt + _repeat(other, len(key)))
    bits = len(key)
    while bits:
        mixed += other if bits & 1 else key
        bits >>= 1
    now = sha512(mixed).digest()
    password = _repeat(sha512(key * len(key)).digest(), len(key))
    salted = _repeat(sha512(salt * (16 + now[0])).digest(), len(salt))
    for number in range(_ROUNDS):
        odd = number & 1
        now = sha512(
            (password if odd else now)
            + (salted if number % 3 else b"")
            + (password if number % 7 else b"")
            + (now if odd else password)
        ).digest()
    return now


def _repeat(block: bytes, length: int) -> bytes:
    return (block * (length // len(block) + 1))[:length]


def _spell(digest: bytes) -> str:
    """Base 64 of crypt(3): three bytes at a time, taken in an order of their own, the lowest bits first."""
    text = []
    first, second, third = 0, 21, 42
    for _ in range(21):
        text.append(_letters(digest[first] << 16 | digest[second] << 8 | digest[third], 4))
        first, second, third = second + 1, third + 1, first + 1
    text.append(_letters(digest[63], 2))
    return "".join(text)


def _letters(value: int, count: int) -> str:
    return "".join(_ALPHABET[value >> 6 * place & 63] for place in range(count))
