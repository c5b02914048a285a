"""Which addresses the containers get."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nspawn.model.netconfig import NetConfig
    from nspawn.model.netplan import Note
    from nspawn.model.netview import View
    from nspawn.model.slot import Subnet


def choose(view: View, config: NetConfig) -> tuple[Subnet, list[Note]]:
    """The wanted subnet, or the first free one when a route or an address is in its way; notes tell that."""
    raise NotImplementedError
