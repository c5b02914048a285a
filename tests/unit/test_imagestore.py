"""The image server's list: who asks for it, who waits, and what is remembered."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from nspawn.errors import Busy, Unreachable
from nspawn.layout import Layout
from nspawn.model.catalog import Catalog
from nspawn.model.progress import Asked, Cancelled, Report
from nspawn.service import imagesources, imagestore
from nspawn.service.imagestore import Found, Images


class Server:
    """Answers at once, or when it may."""

    def __init__(self) -> None:
        self.asked = 0
        self.notes: list[str] = []
        self.error: Exception | None = None
        self.begun, self.may = threading.Event(), threading.Event()
        self.may.set()

    def catalog(self, _report: Report, _cancelled: Asked) -> Catalog:
        self.asked += 1
        self.begun.set()
        assert self.may.wait(60)
        if self.error is not None:
            raise self.error
        return Catalog()


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    found = Server()
    monkeypatch.setattr(imagesources, "server", lambda _network: found)
    monkeypatch.setattr(imagestore, "_PATIENCE", 0.01)
    return found


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def images(tmp_path: Path, clock: Clock) -> Images:
    return Images(Layout(str(tmp_path)), clock)


def search(images: Images) -> Found:
    return images.search("", lambda _step: None, lambda: False)


def test_after_a_failure_it_can_be_tried_again_at_once(server: Server, images: Images, clock: Clock) -> None:
    server.error = Unreachable("it cannot be reached")
    for turn in range(3):
        clock.now += 1
        with pytest.raises(Unreachable, match="it cannot be reached"):
            search(images)
        assert server.asked == turn + 1
    server.error = None
    clock.now += 1
    search(images)
    search(images)
    assert server.asked == 4


def test_an_old_list_is_not_taken_for_the_present_one(server: Server, images: Images, clock: Clock) -> None:
    server.notes = ["it was not reached"]
    for turn in range(2):
        clock.now += 1
        assert search(images).notes == ("it was not reached",)
        assert server.asked == turn + 1
    server.notes = []
    for _ in range(2):
        clock.now += 1
        assert search(images).notes == ()
    assert server.asked == 3


def test_who_waited_for_a_failure_does_not_try_once_more(
    server: Server, images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imagestore, "_PATIENCE", 60.0)
    server.error = Unreachable("it cannot be reached")
    server.may.clear()
    told: list[str] = []

    def ask() -> None:
        try:
            search(images)
        except Unreachable as error:
            told.append(error.what)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert server.begun.wait(60)
    server.may.set()
    for thread in threads:
        thread.join()
    assert told == ["it cannot be reached"] * 3
    assert server.asked == 1


def test_who_comes_meanwhile_does_not_wait_for_the_server(
    server: Server, images: Images, clock: Clock
) -> None:
    for known in (False, True):
        server.begun.clear()
        server.may.clear()
        first = threading.Thread(target=search, args=(images,))
        first.start()
        try:
            assert server.begun.wait(60)
            if known:
                assert "an old list is used" in search(images).notes[0]
            else:
                with pytest.raises(Busy, match="being fetched already"):
                    search(images)
        finally:
            server.may.set()
            first.join()
        clock.now += 601
    assert server.asked == 2


def test_a_server_that_is_late(server: Server, images: Images, clock: Clock) -> None:
    server.error = Cancelled()
    with pytest.raises(Cancelled):
        search(images)
    server.error = None
    clock.now += 31
    assert search(images).notes == ()
    clock.now += 601
    server.error = Cancelled()
    for _ in range(2):
        assert "an old list is used" in search(images).notes[0]
    assert server.asked == 3
