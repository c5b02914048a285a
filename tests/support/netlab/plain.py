"""A plain Linux host in the lab: its main table leads out, and nobody else routes."""

from __future__ import annotations

from tests.support.netlab.lab import Lab
from tests.support.netlab.topology import Line

#: As NetworkManager gives them: the lower is taken.
_METRICS = {"ethernet": 100, "wifi": 600, "mobile": 700}


class PlainLab(Lab):
    """A host with uplinks as a desktop or a server has them."""

    def joined(self, line: Line) -> None:
        metric = _METRICS[line.title]
        self.phone.ip(
            f"route add default via {line.gate4} dev {line.device} metric {metric}",
            f"route add ::/0 via {line.gate6} dev {line.device} metric {metric}",
        )

    def leaves(self, line: Line) -> None:
        """Its routes go with the device."""

    def vpn_on(self) -> None:
        """As wg-quick and others do it on a simple host: two halves of everything beat a default."""
        self._open_tunnel("wg0")
        self.phone.ip(
            "route add 0.0.0.0/1 dev wg0",
            "route add 128.0.0.0/1 dev wg0",
            "route add ::/1 dev wg0",
            "route add 8000::/1 dev wg0",
        )

    def vpn_off(self) -> None:
        self._close_tunnel()
