from __future__ import annotations

from pathlib import Path

import pytest

from nspawn.android import power as phone_power
from nspawn.errors import UsageError
from nspawn.kernel import battery
from nspawn.model.power import CHARGE, HEAT, Reading, Rules, decide
from tests.support.fakephone import FakePhone

BOTH = Rules(freeze_above=45, thaw_below=42, freeze_below_charge=15, thaw_above_charge=20)


@pytest.mark.parametrize(
    ("celsius", "charge", "plugged", "before", "after"),
    [
        (40.0, 80, False, "", ""),
        (45.0, 80, False, "", ""),
        (45.1, 80, False, "", HEAT),
        (43.0, 80, False, "", ""),
        (43.0, 80, False, HEAT, HEAT),
        (42.0, 80, False, HEAT, HEAT),
        (41.9, 80, False, HEAT, ""),
        (43.0, 80, False, CHARGE, ""),  # the other rule's slack is not this one's
        (40.0, 15, False, "", ""),
        (40.0, 14, False, "", CHARGE),
        (40.0, 18, False, "", ""),
        (40.0, 20, False, CHARGE, CHARGE),
        (40.0, 21, False, CHARGE, ""),
        (41.0, 18, False, HEAT, ""),
        (41.0, 10, False, HEAT, CHARGE),
        (50.0, 10, False, "", HEAT),
        (40.0, 5, True, "", ""),
        (40.0, 5, True, CHARGE, ""),
        (50.0, 5, True, "", HEAT),
        (None, 80, False, "", ""),
        (None, 80, False, HEAT, HEAT),
        (40.0, None, False, "", ""),
        (40.0, None, False, CHARGE, CHARGE),
        (None, None, False, "", ""),
    ],
)
def test_decisions(celsius: float | None, charge: int | None, plugged: bool, before: str, after: str) -> None:
    reading = Reading(celsius=celsius, charge=charge, plugged=plugged)
    cause, text = decide(BOTH, reading, before)
    assert cause == after
    assert bool(text) == bool(cause)


def test_rules_that_are_off_never_freeze() -> None:
    assert not Rules().active
    assert decide(Rules(), Reading(celsius=99.0, charge=1), HEAT) == ("", "")


def test_where_it_goes_on_has_a_default_that_does_not_flutter() -> None:
    rules = Rules(freeze_above=45, freeze_below_charge=15)
    assert (rules.thaw_below, rules.thaw_above_charge) == (42, 20)


@pytest.mark.parametrize(
    "values",
    [
        {"freeze_above": 45.0, "thaw_below": 45.0},
        {"freeze_above": 45.0, "thaw_below": 50.0},
        {"freeze_below_charge": 15, "thaw_above_charge": 15},
    ],
)
def test_rules_without_a_distance_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=r"^power\.thaw_"):
        Rules(**values)  # type: ignore[arg-type]


def test_rules_travel() -> None:
    assert Rules.decode(BOTH.encode()).as_dict() == BOTH.as_dict()
    for text in ("", "1 2 3", "a b c d", "1 2 3 4 5"):
        with pytest.raises(UsageError):
            Rules.decode(text)


def test_the_files_are_read(tmp_path: Path) -> None:
    phone = FakePhone(tmp_path / "phone")
    folder = phone.root / "sys/class/power_supply"
    assert phone_power.read_battery(phone.environment) is None
    phone.battery(celsius=31.4, capacity=77, plugged=True)
    pen = folder / "apen"
    pen.mkdir()
    for name, text in (("type", "Battery"), ("scope", "Device"), ("capacity", "3")):
        (pen / name).write_text(f"{text}\n")
    found = battery.read(str(folder))
    assert (found.celsius, found.charge, found.plugged) == (31.4, 77, True)
    shown = phone_power.read_battery(phone.environment)
    assert shown is not None
    assert (shown.status, shown.health) == ("Discharging", "Good")
    (folder / "battery/temp").write_text("nonsense\n")
    assert battery.read(str(folder)).celsius is None


def test_sensors_that_do_not_measure_are_left_out(tmp_path: Path) -> None:
    phone = FakePhone(tmp_path / "phone")
    for number, (kind, value) in enumerate(
        (("cpu-0", "48200"), ("off", "-273000"), ("none", "0"), ("broken", "x"), ("skin", "-4000"))
    ):
        zone = phone.root / f"sys/class/thermal/thermal_zone{number}"
        zone.mkdir(parents=True)
        (zone / "type").write_text(f"{kind}\n")
        (zone / "temp").write_text(f"{value}\n")
    (phone.root / "sys/class/thermal/cooling_device0").mkdir()
    assert phone_power.read_thermal(phone.environment) == [("cpu-0", 48.2), ("skin", -4.0)]
