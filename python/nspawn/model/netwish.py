"""The network options of a command line, as one value.  Read only when there is one."""

from __future__ import annotations

from nspawn.errors import UsageError
from nspawn.model import networds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: Each takes a value; the last one counts where there can be but one.
OPTIONS = {
    "-p": "--publish",
    "-P": "--port-range",
    "--publish": "--publish",
    "--port-range": "--port-range",
    "--ip": "--ip",
    "--route-via": "--route-via",
    "--on-down": "--on-down",
    "--dns": "--dns",
    "--ipv6": "--ipv6",
}


class Wish:
    """What a run asks of the network; texts as in model.slot.Slot.

    address: IPv4, "" for any.  notes: what is left out of what was asked for.
    """

    __slots__ = ("address", "dns", "forwards", "ipv6", "notes", "on_down", "pins")

    def __init__(self) -> None:
        self.address = ""
        self.pins: tuple[str, ...] = ()
        self.on_down = "block"
        self.forwards: tuple[str, ...] = ()
        self.dns: tuple[str, ...] = ()
        self.ipv6 = "auto"
        self.notes: tuple[str, ...] = ()


def parse(values: Mapping[str, Sequence[str]]) -> Wish:
    """From the values of each option by its long name; UsageError."""
    wish = Wish()
    if "--ip" in values:
        wish.address = networds.parse_address4(values["--ip"][-1])
    wish.pins = networds.parse_pins(values.get("--route-via", ()))
    wish.on_down = _choice(values, "--on-down", networds.ON_DOWN, wish.on_down)
    wish.ipv6 = _choice(values, "--ipv6", networds.IPV6_MODES, wish.ipv6)
    servers = [word.strip() for text in values.get("--dns", ()) for word in text.split(",")]
    wish.dns = tuple(dict.fromkeys(map(networds.parse_server, servers)))
    if "--on-down" in values and not wish.pins:
        raise UsageError("--on-down says what happens without the uplinks of --route-via", "there is none")
    if "--publish" in values or "--port-range" in values:
        _forwards(wish, values)
    return wish


def _forwards(wish: Wish, values: Mapping[str, Sequence[str]]) -> None:
    from nspawn.model import forwards

    asked = [forwards.parse_publish(text) for text in values.get("--publish", ())]
    for text in values.get("--port-range", ()):
        asked += forwards.parse_range(text)
    granted: list[forwards.Forward] = []
    notes: list[str] = []
    for forward in forwards.distinct(asked):
        parts, note = forwards.without_reserved(forward)
        granted += parts
        notes += [note] if note else []
    wish.forwards = tuple(map(str, granted))
    wish.notes = tuple(notes)


def _choice(values: Mapping[str, Sequence[str]], option: str, choices: Sequence[str], default: str) -> str:
    value = values[option][-1] if option in values else default
    if value not in choices:
        raise UsageError(f"{option} takes no {value[:40]!r}", hint=f"Use one of {', '.join(choices)}.")
    return value
