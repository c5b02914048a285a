"""Who may use the page: the token, one-time codes for the browser, and sessions.

Nothing here is kept in memory: the command line issues a code, the web process redeems it, and a session
outlives a web process that left for want of work.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from nspawn.errors import Damaged
from nspawn.service import files

if TYPE_CHECKING:
    from collections.abc import Callable

    from nspawn.layout import Layout

#: Bytes of the token; 256 bits (facts: web, Threats).
_TOKEN_BYTES = 32
CODE_SECONDS = 60
SESSION_SECONDS = 12 * 3600
#: More codes than this at once are nobody's logins.
_MOST_CODES = 32


class Access:
    """The secrets of one layout.  clock: seconds since the epoch."""

    def __init__(self, layout: Layout, clock: Callable[[], float] = time.time) -> None:
        self._layout = layout
        self._clock = clock

    def token(self) -> str:
        """The token, made at the first call.  Damaged when its file holds none."""
        path = self._layout.token
        try:
            data = files.read(path)
        except FileNotFoundError:
            return self._create()
        except OSError as error:
            raise files.system_error("the token cannot be read", error) from None
        token = data.decode("ascii", "replace").strip()
        if len(token) < 32 or not all(char.isascii() and (char.isalnum() or char in "-_") for char in token):
            raise Damaged(
                "the token is damaged", f"{path} does not hold one", "Make a new one: nspawn token rotate"
            )
        os.chmod(path, 0o600)
        return token

    def rotate(self) -> str:
        """Replace the token; every session and code ends with the old one."""
        token = _secret()
        try:
            self._prepare(self._layout.root)
            with files.folder(self._layout.root) as root:
                files.write("token", token.encode() + b"\n", root)
        except OSError as error:
            raise files.system_error("the token was not replaced", error) from None
        return token

    def check_token(self, token: str) -> bool:
        """Whether this is the token; takes the same time for every wrong one."""
        return _same(token, self.token())

    def issue_code(self) -> str:
        """A code that logs in once, within 60 seconds."""
        code = _secret()
        with self._codes() as codes:
            self._sweep(codes)
            name = self._code_name(code)
            os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=codes))
            os.utime(name, (self._clock(),) * 2, dir_fd=codes)
        return code

    def redeem_code(self, code: str) -> bool:
        """Whether the code was valid; it is not afterwards.

        The file is named by a keyed digest, so looking it up tells nothing by its time; unlink(2) succeeds
        for one caller only.
        """
        if not 16 <= len(code) <= 100:
            return False
        name = self._code_name(code)
        with self._codes() as codes:
            try:
                issued = os.stat(name, dir_fd=codes, follow_symlinks=False).st_mtime
                os.unlink(name, dir_fd=codes)
            except FileNotFoundError:
                return False
        return self._fresh(issued)

    def issue_session(self) -> str:
        """A bearer for SESSION_SECONDS: `EXPIRES.NONCE.SIGNATURE`."""
        body = f"{int(self._clock()) + SESSION_SECONDS}.{_secret(12)}"
        return f"{body}.{self._sign(body)}"

    def check_session(self, session: str) -> bool:
        """Whether we issued it and it has not expired."""
        if len(session) > 200 or session.count(".") != 2 or not session.isascii():
            return False
        body, _dot, signature = session.rpartition(".")
        if not _same(signature, self._sign(body)):
            return False
        expires = int(body.partition(".")[0])
        return self._clock() < expires

    def _create(self) -> str:
        """The first token; of several processes at once one wins and all get its token."""
        token = _secret()
        root = self._layout.root
        try:
            self._prepare(root)
            with files.folder(root) as at:
                temporary = f".token.{os.getpid()}.{os.urandom(4).hex()}"
                files.write(temporary, token.encode() + b"\n", at)
                try:
                    os.link(temporary, "token", src_dir_fd=at, dst_dir_fd=at)
                    os.fsync(at)
                except FileExistsError:
                    return self.token()
                finally:
                    os.unlink(temporary, dir_fd=at)
        except OSError as error:
            raise files.system_error("the token cannot be made", error) from None
        return token

    @staticmethod
    def _prepare(path: str) -> None:
        os.makedirs(path, 0o700, exist_ok=True)

    def _codes(self) -> files.Folder:
        path = f"{self._layout.run}/codes"
        self._prepare(self._layout.root)
        self._prepare(path)
        os.chmod(path, 0o700)
        return files.folder(path)

    def _sweep(self, codes: int) -> None:
        """Drop expired codes, and the oldest beyond the limit."""
        with os.scandir(codes) as found:
            ages = sorted((entry.stat(follow_symlinks=False).st_mtime, entry.name) for entry in found)
        for index, (issued, name) in enumerate(ages):
            if not self._fresh(issued) or index < len(ages) - _MOST_CODES + 1:
                with suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=codes)

    def _fresh(self, issued: float) -> bool:
        return -1 <= self._clock() - issued < CODE_SECONDS

    def _code_name(self, code: str) -> str:
        return hashlib.sha256(f"{self.token()}:{code}".encode("utf-8", "surrogatepass")).hexdigest()

    def _sign(self, body: str) -> str:
        digest = hmac.digest(self.token().encode(), f"session:{body}".encode(), "sha256")
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _secret(size: int = _TOKEN_BYTES) -> str:
    return base64.urlsafe_b64encode(os.urandom(size)).rstrip(b"=").decode()


def _same(left: str, right: str) -> bool:
    # Digests first: compare_digest's time depends on the lengths, and it refuses non-ASCII text.
    return hmac.compare_digest(
        hashlib.sha256(left.encode("utf-8", "surrogatepass")).digest(),
        hashlib.sha256(right.encode()).digest(),
    )
