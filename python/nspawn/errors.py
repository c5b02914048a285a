"""One family of errors: what failed, why, and what to do next.

The command line and the API render the same object.  Plain classes: this module is on every start path.
"""

from __future__ import annotations


class NspawnError(Exception):
    """A failure that a person can read.

    what: the thing that did not happen, without a full stop.
    why: the reason, as the kernel or the data gave it; may be empty.
    hint: what to do next; may be empty.
    status: exit status of a command that ends with it (1; 2 for usage; 126 and 127 as shells use them).
    """

    code = "failed"
    status = 1

    def __init__(self, what: str, why: str = "", hint: str = "", *, status: int | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.hint = hint
        if status is not None:
            self.status = status

    def __str__(self) -> str:
        return f"{self.what}: {self.why}" if self.why else self.what

    def render(self, program: str = "nspawn") -> str:
        """The text for a terminal: one line, and an indented hint below it."""
        text = f"{program}: {self}"
        return f"{text}\n  {self.hint}" if self.hint else text

    def as_dict(self) -> dict[str, str]:
        """The JSON form: code, what, why, hint."""
        return {"code": self.code, "what": self.what, "why": self.why, "hint": self.hint}


class UsageError(NspawnError):
    """The input is wrong; nothing was tried."""

    code = "usage"
    status = 2


class NotFound(NspawnError):
    """What was named does not exist."""

    code = "not_found"


class Conflict(NspawnError):
    """The present state does not allow it: it exists already, it is running, it is in use."""

    code = "conflict"


class Unsupported(NspawnError):
    """This kernel or machine lacks what is needed."""

    code = "unsupported"


class Damaged(NspawnError):
    """Stored data cannot be read as what it should be."""

    code = "damaged"


class Busy(NspawnError):
    """A limit is reached; the same request may work later."""

    code = "busy"


class Unreachable(NspawnError):
    """A server was not reached, or broke off, or is overloaded; the same request may work later."""

    code = "unreachable"


class NotRunning(NspawnError):
    """There is no spawner to ask."""

    code = "not_running"


#: Every class by its code, to rebuild an error that crossed a socket.
BY_CODE: dict[str, type[NspawnError]] = {
    kind.code: kind
    for kind in (
        NspawnError,
        UsageError,
        NotFound,
        Conflict,
        Unsupported,
        Damaged,
        Busy,
        Unreachable,
        NotRunning,
    )
}
