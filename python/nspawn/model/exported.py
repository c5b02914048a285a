"""What an archive of a container says of itself, and what of that counts on another machine."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from nspawn.errors import Damaged, NspawnError
from nspawn.model import settings
from nspawn.model.names import is_container_name
from nspawn.model.settings import Autostart, Network, NewerVersion, Restart, Settings

if TYPE_CHECKING:
    from collections.abc import Callable

#: The name of the archive's first member.
MEMBER = ".nspawn-export"
#: Of the form of the archive.
VERSION = 1
_WHAT = "the archive's settings cannot be used"


@dataclass(frozen=True, kw_only=True)
class Exported:
    """name: of the container; machine: as uname(2) names it; program: what wrote it."""

    name: str
    settings: Settings
    machine: str = ""
    program: str = ""


def write(value: Exported, dumps: Callable[[dict[str, object]], str]) -> str:
    """The text of the member.  dumps: tomli_w's."""
    return "# A container, exported by nspawn.\n" + dumps(
        {
            "format": VERSION,
            "name": value.name,
            "machine": value.machine,
            "program": value.program,
            "settings": settings.to_toml_mapping(value.settings),
        }
    )


def read(data: bytes) -> Exported:
    """The member's content, which anybody may have written; Damaged."""
    try:
        document = tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise Damaged(_WHAT, f"they are not TOML: {error}") from None
    version, name = document.get("format"), document.get("name")
    if isinstance(version, int) and not isinstance(version, bool) and version > VERSION:
        raise Damaged(_WHAT, f"a newer nspawn wrote them (format {version})", "Update nspawn.")
    if version != VERSION or isinstance(version, bool):
        raise Damaged(_WHAT, "they have no format that is known")
    if not isinstance(name, str) or not is_container_name(name):
        raise Damaged(_WHAT, f"{str(name)[:80]!r} is no name of a container")
    try:
        value = settings.parse(document.get("settings"))
    except NewerVersion as error:
        raise Damaged(_WHAT, error.why, error.hint) from None
    except NspawnError as error:
        raise Damaged(_WHAT, str(error)) from None
    return Exported(
        name=name,
        settings=value,
        machine=_word(document.get("machine")),
        program=_word(document.get("program")),
    )


def own(value: Settings) -> Settings:
    """With a rootfs of its own, which an archive and a copy always make."""
    return replace(value, rootfs="")


def harmless(value: Settings) -> tuple[Settings, list[str]]:
    """Without what reaches out of the container, and a note for each thing that was left out.

    An archive may come from anybody: it must not show a folder of the phone to its programs, open a port,
    keep the phone awake or start by itself, not again either.  What the user pins it to stays: leaving that
    out would let traffic out where it was not meant to go.  The machine's network stays too, as every
    container has it by default, and a note says so.
    """
    notes = []
    network = value.network
    if value.binds:
        notes.append(f"binds were left out: {', '.join(value.binds)}")
    if value.storage:
        notes.append(f"the phone's storage at {value.storage} was left out")
    ports = [*network.ports, *network.port_range]
    if ports:
        notes.append(f"ports were left out: {', '.join(ports)}")
    if network.ip:
        notes.append(f"the address {network.ip} was left out")
    if value.autostart != Autostart():
        notes.append("the start with the machine was left out")
    if value.wake_lock:
        notes.append("wake_lock was left out")
    if value.restart.policy != Restart().policy:
        notes.append(f"restart.policy {value.restart.policy} was left out")
    if network.on_down != Network().on_down:
        notes.append(f"network.on_down {network.on_down} was left out")
    if network.mode == "host":
        notes.append("its programs are in this machine's network (network.mode host)")
    return (
        replace(
            value,
            rootfs="",
            binds=(),
            storage="",
            wake_lock=False,
            autostart=Autostart(),
            restart=replace(value.restart, policy=Restart().policy),
            network=replace(network, ports=(), port_range=(), ip="", on_down=Network().on_down),
        ),
        notes,
    )


def twin(value: Settings) -> tuple[Settings, list[str]]:
    """For a copy beside the original: without what only one of them can have, and notes on that."""
    notes = []
    network = value.network
    ports = [*network.ports, *network.port_range]
    if ports:
        notes.append(f"ports stay with the original: {', '.join(ports)}")
    if network.ip:
        notes.append(f"the address {network.ip} stays with the original")
    if value.hostname:
        notes.append(f"the host name {value.hostname} stays with the original")
    return (
        replace(value, rootfs="", hostname="", network=replace(network, ports=(), port_range=(), ip="")),
        notes,
    )


def _word(value: object) -> str:
    return value if isinstance(value, str) and value.isprintable() and len(value) <= 100 else ""
