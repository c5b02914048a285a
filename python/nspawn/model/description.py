"""The line that the root manager shows of the module: what is true now."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_LONGEST = 200
_KEY = b"description="


def text(
    *,
    running: int,
    frozen: int = 0,
    waits: Mapping[str, str] | None = None,
    address: str = "",
    trouble: str = "",
) -> str:
    """For example `3 containers running, http://localhost:8080`.

    waits: what each waiting container waits for.  trouble: of the page, or what holds the containers.
    """
    parts = [f"{running} container{'' if running == 1 else 's'} running" if running else "no container runs"]
    if frozen:
        parts.append(f"{frozen} of them frozen")
    names = sorted(waits or {})
    if waits and len(names) == 1:
        parts.append(f"{names[0]} {waits[names[0]]}")
    elif waits:
        causes = sorted(set(waits.values()))
        parts.append(f"{len(names)} wait" + (causes[0].removeprefix("waits") if len(causes) == 1 else ""))
    if trouble:
        parts.append(trouble)
    elif address:
        parts.append(address)
    return ", ".join(parts)


def refusal(text: str) -> str:
    """`port 8080 is taken`, of the keeper's `127.0.0.1:8080 is not to be had: Address already in use`."""
    number = text.partition(" ")[0].rpartition(":")[2]
    return f"port {number} is taken" if number.isdigit() and "in use" in text else text


def rewrite(properties: bytes, line: str) -> bytes:
    """The file module.prop with this description and nothing else changed; as it was without one."""
    clean = " ".join(line.replace('"', "'").split())[:_LONGEST]
    lines = properties.split(b"\n")
    for index, each in enumerate(lines):
        if each.startswith(_KEY):
            end = b"\r" if each.endswith(b"\r") else b""
            lines[index] = _KEY + clean.encode() + end
            break
    return b"\n".join(lines)
