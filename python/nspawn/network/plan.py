"""What the network shall be, from what the containers want and what is there: a pure decision."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from nspawn.model.netconfig import NetConfig
    from nspawn.model.netplan import Features, Plan
    from nspawn.model.netview import View
    from nspawn.model.slot import Slot, Subnet
    from nspawn.model.uplinks import Uplink


def make(
    view: View,
    uplinks: Sequence[Uplink],
    subnet: Subnet,
    slots: Sequence[Slot],
    config: NetConfig,
    features: Features,
    *,
    page: int = 8080,
) -> Plan:
    """slots: the active ones.  page: the port that containers must not reach."""
    raise NotImplementedError
