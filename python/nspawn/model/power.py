"""When the power rules freeze the containers that are marked pausable, and when they go on.

The spawner decides by this at each event of the battery, so it is on the slim side: no dataclasses.
"""

from __future__ import annotations

from nspawn.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self


HEAT, CHARGE = "heat", "charge"


class Reading:
    """What the battery says; None for what it does not.  charge: percent; plugged: whether it is fed."""

    __slots__ = ("celsius", "charge", "plugged")

    def __init__(
        self, *, celsius: float | None = None, charge: int | None = None, plugged: bool = False
    ) -> None:
        self.celsius = celsius
        self.charge = charge
        self.plugged = plugged


class Rules:
    """Degrees of the battery and percent of its charge; 0 for a rule that is off.

    thaw_below, thaw_above_charge: where it goes on: apart from where it froze, so that it does not flutter.
    """

    __slots__ = ("freeze_above", "freeze_below_charge", "thaw_above_charge", "thaw_below")

    def __init__(
        self,
        *,
        freeze_above: float = 0.0,
        thaw_below: float = 0.0,
        freeze_below_charge: int = 0,
        thaw_above_charge: int = 0,
    ) -> None:
        self.freeze_above = freeze_above
        self.thaw_below = thaw_below or max(0.0, freeze_above - 3)
        self.freeze_below_charge = freeze_below_charge
        self.thaw_above_charge = thaw_above_charge or (freeze_below_charge + 5 if freeze_below_charge else 0)
        if freeze_above and self.thaw_below >= freeze_above:
            raise UsageError(
                f"power.thaw_below: expected less than freeze_above, which is {freeze_above:g}, "
                f"got {self.thaw_below:g}"
            )
        if freeze_below_charge and self.thaw_above_charge <= freeze_below_charge:
            raise UsageError(
                f"power.thaw_above_charge: expected more than freeze_below_charge, which is "
                f"{freeze_below_charge}, got {self.thaw_above_charge}"
            )

    @property
    def active(self) -> bool:
        return bool(self.freeze_above or self.freeze_below_charge)

    def as_dict(self) -> dict[str, float]:
        """The JSON form."""
        return {name: getattr(self, name) for name in self.__slots__}

    def encode(self) -> str:
        """For a record."""
        return " ".join(
            f"{number:g}"
            for number in (
                self.freeze_above,
                self.thaw_below,
                self.freeze_below_charge,
                self.thaw_above_charge,
            )
        )

    @classmethod
    def decode(cls, text: str) -> Self:
        """The rules again; UsageError when the text is none."""
        try:
            above, below, low, high = text.split(" ")
            return cls(
                freeze_above=float(above),
                thaw_below=float(below),
                freeze_below_charge=int(low),
                thaw_above_charge=int(high),
            )
        except ValueError:
            raise UsageError(f"{text[:80]!r} are no power rules") from None


def decide(rules: Rules, reading: Reading, cause: str) -> tuple[str, str]:
    """(HEAT or CHARGE, and the same in words) when the container is to be frozen now, ("", "") when not.

    cause: for which of them it is frozen already, or "".  What cannot be read just now changes nothing.  A
    phone that is being fed may use its power.
    """
    heat, charge = reading.celsius, reading.charge
    if rules.freeze_above:
        if heat is None and cause == HEAT:
            return HEAT, "the battery was too hot, and its temperature cannot be read now"
        if heat is not None and (heat > rules.freeze_above or (cause == HEAT and heat >= rules.thaw_below)):
            return HEAT, f"the battery is at {heat:g} °C; it goes on below {rules.thaw_below:g} °C"
    if rules.freeze_below_charge and not reading.plugged:
        if charge is None and cause == CHARGE:
            return CHARGE, "the battery was too low, and its charge cannot be read now"
        low, high = rules.freeze_below_charge, rules.thaw_above_charge
        if charge is not None and (charge < low or (cause == CHARGE and charge <= high)):
            return CHARGE, f"the battery is at {charge} %; it goes on above {high} %"
    return "", ""
