from __future__ import annotations

import pytest

from nspawn.kernel.command import LATE, run


def test_it_has_its_input_and_tells_both_outputs_and_the_status() -> None:
    script = 'read line; echo "out $line $WORD"; echo err >&2; exit 3'
    assert run(["/bin/sh", "-c", script], {"WORD": "b"}, "a\n") == (3, "out a b\nerr\n")


def test_without_input_there_is_none() -> None:
    assert run(["/bin/cat"], {}) == (0, "")


def test_a_death_by_a_signal_is_told_as_a_negative_status() -> None:
    assert run(["/bin/sh", "-c", "kill -9 $$"], {})[0] == -9


def test_who_does_not_end_is_ended() -> None:
    status, said = run(["/bin/sh", "-c", "echo begun; exec sleep 1000"], {}, seconds=0.2)
    assert (status, said) == (LATE, "/bin/sh did not end in 0.2 s")


def test_who_does_not_start_is_an_error() -> None:
    with pytest.raises(FileNotFoundError):
        run(["/nowhere/program"], {})
