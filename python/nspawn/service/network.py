"""The network's use cases, for the command line and the page."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from nspawn.container.client import Client
from nspawn.errors import Conflict, NotRunning
from nspawn.kernel import slotfiles
from nspawn.model.names import parse_container_name
from nspawn.model.slot import veth
from nspawn.service import daemon, netagent, netruns, netstatus, netstory, netwatch, slots
from nspawn.service.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from nspawn.layout import Layout
    from nspawn.model.record import Record
    from nspawn.service.netstatus import Status
    from nspawn.service.netstory import Explanation


class Network:
    """That of one layout.  Looking and taking down need no spawner; where there is one, it is asked."""

    def __init__(
        self, layout: Layout, client: Client | None = None, environ: Mapping[str, str] | None = None
    ) -> None:
        self._layout = layout
        self._client = Client(layout) if client is None else client
        self._environ = os.environ if environ is None else environ

    def status(self) -> Status:
        """How it is now."""
        return netstatus.status(self._layout, self._client, self._environ)

    def explain(self, name: str) -> Explanation:
        """Why a container goes where it goes.  NotFound; Conflict when it has no network of its own."""
        value = Store(self._layout).load(parse_container_name(name)).settings
        found = self.status()
        member = next((each for each in found.members if each.name == name), None)
        if member is None:
            mode = value.network.mode
            what = "it has the host's network" if mode == "host" else "it has only loopback"
            raise Conflict(
                f"there is nothing to explain about {name}",
                f"{what} (network.mode={mode})",
                f"A network of its own: nspawn set {name} network.mode=nat",
            )
        return netstory.explain(member, found.look)

    def watch(self) -> Iterator[list[str]]:
        """The lines of each change, without end; the first is empty, and says that it has begun."""
        return netwatch.watch(lambda: self.status().as_dict())

    def plan_up(self) -> list[str]:
        """The commands that `up` would stand for; none when all is well."""
        return netruns.Up(self._layout, self._environ, _ignore).lines()

    def up(self) -> Record:
        """Set it up, as for a container; it stays until `down`, and a spawner follows what changes."""
        daemon.ensure(self._layout, self._client)
        return self._client.call("net", [("verb", "up")])

    def plan_down(self, *, force: bool = False) -> list[str]:
        """The commands that `down` would stand for; Conflict as there."""
        users = [slot for slot in slotfiles.peek(self._layout)[1] if slots.is_link(veth(slot.number))]
        if users and not force:
            raise self._in_use([slot.number for slot in users])
        return netruns.Down(self._layout, self._environ, _ignore, force=force).lines()

    def down(self, *, force: bool = False) -> list[str]:
        """Remove all of it; what was removed.  Conflict while containers use it, unless forced."""
        try:
            outcome = self._client.call("net", [("verb", "down"), ("force", int(force))])
        except NotRunning:
            outcome = netagent.run_agent(self._layout, self._environ, "down", *(["--force"] if force else []))
        if not outcome.flag("down"):
            raise self._in_use([int(number) for number in outcome.all("active")])
        return [line.decode("utf-8", "replace") for line in outcome.all("removed")]

    def _in_use(self, numbers: list[int]) -> Conflict:
        owners = {slot.number: slots.owner_text(slot.owner) for slot in slotfiles.peek(self._layout)[1]}
        users = ", ".join(owners.get(number, f"nsp{number}") for number in numbers)
        return Conflict(
            "the network is in use",
            f"by {users}" if users else "",
            "Stop what uses it, or: nspawn net down --force (they are cut off).",
        )


def _ignore(_line: str) -> None:
    """The agent's log is for its own process."""
