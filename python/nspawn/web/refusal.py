"""What only HTTP can go wrong with, in the family of `NspawnError`, and the status of every error's code."""

from __future__ import annotations

from nspawn.errors import NspawnError

#: HTTP status by the code of a `NspawnError`.  An operation that was understood and failed is 422: a 500 is
#: kept for mistakes of this program.
STATUS = {
    "usage": 400,
    "not_found": 404,
    "conflict": 409,
    "unsupported": 422,
    "damaged": 422,
    "failed": 422,
    "unreachable": 502,
    "busy": 503,
    "not_running": 503,
}

#: Seconds after which a request that met a limit is worth another try.
RETRY_BUSY = 2


class Refusal(NspawnError):
    """A request that is turned away before it reaches a use case.

    http: the status of the answer.  retry: seconds for Retry-After, or 0 for none.
    """

    def __init__(
        self, http: int, code: str, what: str, why: str = "", hint: str = "", *, retry: int = 0
    ) -> None:
        super().__init__(what, why, hint)
        self.http = http
        self.code = code
        self.retry = retry


def status_of(error: NspawnError) -> int:
    """The HTTP status that says the same as this error."""
    if isinstance(error, Refusal):
        return error.http
    return STATUS.get(error.code, 422)


def retry_after(error: NspawnError) -> int:
    """Seconds for Retry-After, or 0 when another try is no help."""
    if isinstance(error, Refusal):
        return error.retry
    return RETRY_BUSY if status_of(error) == 503 else 0
