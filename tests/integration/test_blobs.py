"""The store: what is kept, shared, resumed after kill -9, and never half there."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from nspawn.errors import Damaged, NotFound, NspawnError, UsageError
from nspawn.images.blobs import Blobs, Kept
from nspawn.images.fetch import Fetcher, Stream
from nspawn.images.http import Client
from nspawn.model.blob import Blob
from nspawn.model.fetching import Fetching
from nspawn.model.progress import Progress
from tests.support.command import check
from tests.support.faultserver import Fault, FaultServer, serving
from tests.support.program import REPOSITORY

DATA = random.Random(6).randbytes(2_000_003)
DIGEST = f"sha256:{hashlib.sha256(DATA).hexdigest()}"
DIGITS = DIGEST[7:]
QUICK = Fetching(connect_timeout=5, stall_timeout=5, retries=1)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FaultServer]:
    with serving(tmp_path) as found:
        found.files["/blob"] = DATA
        yield found


@pytest.fixture
def store(tmp_path: Path) -> Blobs:
    return Blobs(str(tmp_path / "images"))


def fetcher(server: FaultServer) -> Fetcher:
    return Fetcher(Client(QUICK, environ={"SSL_CERT_FILE": str(server.certificate)}), QUICK)


def blob(server: FaultServer, digest: str = DIGEST) -> Blob:
    return Blob(digest=digest, size=len(DATA), urls=(f"{server.url}/blob",))


def drain(stream: Stream) -> bytes:
    with stream:
        parts = []
        while data := stream.read(1 << 18):
            parts.append(data)
        return b"".join(parts)


def found_in(store: Blobs) -> list[str]:
    """The names of all files of blobs."""
    return sorted(path.name for path in Path(store.root).glob("blobs/sha256/*"))


def test_what_is_kept_is_not_fetched_again(server: FaultServer, store: Blobs) -> None:
    assert not store.has(DIGEST)
    assert drain(fetcher(server).open(blob(server), keep=store)) == DATA
    assert found_in(store) == [DIGITS]
    assert store.has(DIGEST)
    assert drain(fetcher(server).open(blob(server), keep=store)) == DATA
    assert len(server.asked) == 1
    assert drain(store.open(DIGEST)) == DATA


def test_what_is_wrong_is_not_kept(server: FaultServer, store: Blobs) -> None:
    server.faults["/blob"] = Fault(flip=1_999_999)
    with pytest.raises(Damaged, match="its hash is"):
        drain(fetcher(server).open(blob(server), keep=store))
    assert found_in(store) == []
    with pytest.raises(UsageError, match="cannot be kept"):
        fetcher(server).open(Blob(digest="", urls=(f"{server.url}/blob",)), keep=store)


def test_what_a_broken_network_leaves_is_continued(server: FaultServer, store: Blobs) -> None:
    server.faults["/blob"] = Fault(cut=1_000_000, ranges="ignored")
    with pytest.raises(NspawnError, match="broke off"):
        drain(fetcher(server).open(blob(server), keep=store))
    assert found_in(store) == [f"{DIGITS}.part"]
    server.faults.clear()
    server.asked.clear()
    assert drain(fetcher(server).open(blob(server), keep=store)) == DATA
    assert server.ranges("/blob") == ["bytes=1000000-"]
    assert found_in(store) == [DIGITS]


@pytest.mark.parametrize("left", [b"", DATA[:1000], DATA, DATA + b"more"])
def test_whatever_an_ended_process_left_becomes_the_blob(
    server: FaultServer, store: Blobs, left: bytes
) -> None:
    folder = Path(store.root, "blobs/sha256")
    folder.mkdir(parents=True)
    (folder / f"{DIGITS}.part").write_bytes(left)
    assert drain(fetcher(server).open(blob(server), keep=store)) == DATA
    assert found_in(store) == [DIGITS]


def test_a_beginning_that_is_wrong_is_thrown_away(server: FaultServer, store: Blobs) -> None:
    folder = Path(store.root, "blobs/sha256")
    folder.mkdir(parents=True)
    (folder / f"{DIGITS}.part").write_bytes(bytes(5000))
    with pytest.raises(Damaged, match="an earlier download"):
        drain(fetcher(server).open(blob(server), keep=store))
    assert drain(fetcher(server).open(blob(server), keep=store)) == DATA


def test_a_damaged_blob_is_told_removed_and_fetched_anew(server: FaultServer, store: Blobs) -> None:
    drain(fetcher(server).open(blob(server), keep=store))
    path = Path(store.root, "blobs/sha256", DIGITS)
    path.write_bytes(b"x" + DATA[1:])
    assert store.verify(lambda _: None, lambda: False) == [DIGEST]
    with pytest.raises(Damaged, match="its hash is"):
        drain(fetcher(server).open(blob(server), keep=store))
    assert drain(fetcher(server).open(blob(server), keep=store)) == DATA
    path.write_bytes(DATA[:-1])
    assert drain(fetcher(server).open(blob(server), keep=store)) == DATA
    assert store.verify(lambda _: None, lambda: False) == []


def test_a_wrong_size_that_somebody_tells_costs_no_good_blob(server: FaultServer, store: Blobs) -> None:
    drain(fetcher(server).open(blob(server), keep=store))
    for size in (1, len(DATA) - 1, len(DATA) + 1):
        with pytest.raises(NotFound):
            store.open(DIGEST, size=size, heal=True)
        with pytest.raises(Damaged, match="is not what is wanted"):
            drain(fetcher(server).open(replace(blob(server), size=size), keep=store))
        assert store.has(DIGEST)
    assert found_in(store) == [DIGITS]


_PROGRAM = """
import sys
from nspawn.images.blobs import Blobs
from nspawn.images.fetch import Fetcher
from nspawn.images.http import Client
from nspawn.model.blob import Blob
from nspawn.model.fetching import Fetching
root, url, digest, size = sys.argv[1:]
fetching = Fetching(connect_timeout=10, stall_timeout=10)
blob = Blob(digest=digest, size=int(size), urls=(url,))
with Fetcher(Client(fetching), fetching).open(blob, keep=Blobs(root)) as stream:
    print("begun", flush=True)
    while stream.read(65536):
        pass
print("whole", flush=True)
"""


def start(server: FaultServer, store: Blobs) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, store.root, f"{server.url}/blob", DIGEST, str(len(DATA))],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": f"{REPOSITORY}/python", "SSL_CERT_FILE": str(server.certificate)},
    )


def test_kill_9_at_any_point_leaves_what_the_next_one_continues(server: FaultServer, store: Blobs) -> None:
    dice = random.Random(int(os.environ.get("NSPAWN_TEST_SEED", "7")))
    server.faults["/blob"] = Fault(rate=4_000_000)
    kills = 0
    for _ in range(10):
        with start(server, store) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(dice.uniform(0, 0.4))
            process.send_signal(signal.SIGKILL)
            kills += process.stdout.read() != b"whole\n"
        assert found_in(store) in ([], [f"{DIGITS}.part"], [DIGITS])
        assert store.has(DIGEST) == (found_in(store) == [DIGITS])
        if store.has(DIGEST):
            assert Path(store.root, "blobs/sha256", DIGITS).read_bytes() == DATA
    assert kills
    assert drain(fetcher(server).open(blob(server), keep=store)) == DATA
    assert found_in(store) == [DIGITS]
    # What the kernel's buffers held at each kill was sent in vain; all the rest was continued.
    assert server.sent < len(DATA) * 5


def test_two_who_want_the_same_fetch_it_once(server: FaultServer, store: Blobs) -> None:
    server.faults["/blob"] = Fault(rate=4_000_000)
    with start(server, store) as one, start(server, store) as two:
        assert [process.communicate()[0] for process in (one, two)] == [b"begun\nwhole\n"] * 2
    results: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: results.append(drain(fetcher(server).open(blob(server), keep=store))))
        for _ in range(3)
    ]
    store.remove(DIGEST)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [DATA] * 3
    assert [each.path for each in server.asked] == ["/blob"] * 2


def test_who_waits_takes_over_when_the_other_is_killed(server: FaultServer, store: Blobs) -> None:
    server.faults["/blob"] = Fault(stall=1_000_000)
    with start(server, store) as process:
        part = Path(store.root, "blobs/sha256", f"{DIGITS}.part")
        while not part.exists() or part.stat().st_size < 1_000_000:
            assert process.poll() is None
            time.sleep(0.05)
        stream = fetcher(server).open(blob(server), keep=store)
        time.sleep(0.3)
        assert len(server.asked) == 1
        process.kill()
    server.faults.clear()
    assert drain(stream) == DATA
    assert server.ranges("/blob")[-1] == "bytes=1000000-"


def note_many(store: Blobs) -> None:
    for number in range(10_000):
        store.note(Kept(reference=f"x{number}" * 100, title="t", digests=(DIGEST,) * 900))


@pytest.mark.parametrize("room", [0, 100, 700, 1500, 1900])
def test_a_full_disk_leaves_nothing_half_there(
    needs_root: None, server: FaultServer, tmp_path: Path, room: int
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    check(["mount", "-t", "tmpfs", "-o", "size=2048k", "tmpfs", disk])
    try:
        (disk / "ballast").write_bytes(bytes((2048 - room) << 10))
        store = Blobs(str(disk / "images"))
        with pytest.raises(NspawnError, match="No space left on device"):
            drain(fetcher(server).open(blob(server), keep=store))
        assert found_in(store) == []
        with pytest.raises(NspawnError, match="No space left on device"):
            note_many(store)
        records, problems = store.records()
        assert not problems
        assert all(record.digests == (DIGEST,) * 900 for record in records)
        (disk / "ballast").unlink()
        for record in records:
            store.forget(record.id)
        assert sorted(path.name for path in disk.glob("images/index/*")) == []
        assert drain(fetcher(server).open(blob(server), keep=store)) == DATA
    finally:
        check(["umount", disk])


def test_records_and_what_they_need(server: FaultServer, store: Blobs) -> None:
    assert store.records() == ([], [])
    assert store.held() == []
    drain(fetcher(server).open(blob(server), keep=store))
    other = b"other"
    spare = Path(store.root, "blobs/sha256", hashlib.sha256(other).hexdigest())
    spare.write_bytes(other)
    old = Kept(reference="debian:13", title="Debian", digests=(DIGEST,), arch="arm64", date=5, size=9)
    new = Kept(reference="debian:13", title="Debian", digests=(DIGEST,), arch="amd64", date=6)
    store.note(old)
    store.note(new)
    store.note(new)
    assert store.records() == ([new, old], [])
    assert {each.digest: each.used for each in store.held()} == {
        DIGEST: tuple(sorted((old.id, new.id), key=[new.id, old.id].index)),
        f"sha256:{spare.name}": (),
    }
    (Path(store.root, "blobs/sha256") / f"{'a' * 64}.part").write_bytes(b"12345")
    reports: list[Progress] = []
    pruned = store.prune(reports.append)
    assert (pruned.count, pruned.bytes, pruned.problems) == (2, len(other) + 5, ())
    assert found_in(store) == [DIGITS]
    store.forget(old.id)
    store.forget(new.id)
    for absent in (new.id, "../../x", ""):
        with pytest.raises(NotFound):
            store.forget(absent)
    assert store.prune().count == 1
    assert found_in(store) == []
    with pytest.raises(NotFound):
        store.open(DIGEST)
    with pytest.raises(NotFound):
        store.remove(DIGEST)


def test_a_part_that_is_being_written_is_not_pruned(store: Blobs) -> None:
    part = store.begin(DIGEST)
    assert part is not None
    assert store.begin(DIGEST) is None
    assert store.prune().count == 0
    assert found_in(store) == [f"{DIGITS}.part"]
    part.close()
    assert store.prune().count == 1
    assert found_in(store) == []


def test_documents_are_needed_as_layers_are(store: Blobs) -> None:
    text = b'{"a": 1}'
    digest = store.put(text)
    assert store.put(text) == digest == f"sha256:{hashlib.sha256(text).hexdigest()}"
    assert drain(store.open(digest)) == text
    record = Kept(reference="a", title="A", digests=(DIGEST,), arch="arm64", documents=(digest,))
    store.note(record)
    assert store.prune().count == 0
    assert store.find("a", "arm64") is None  # its layer is not there
    record = replace(record, digests=())
    store.note(record)
    assert store.find("a", "arm64") == record
    assert store.find("a", "amd64") is None
    path = Path(store.root, "index", f"{record.id}.json")
    old = {key: value for key, value in json.loads(path.read_text()).items() if key != "documents"}
    path.write_text(json.dumps(old))
    assert store.records() == ([replace(record, documents=())], [])
    assert store.prune().count == 1


def test_damaged_records_are_told_and_nothing_is_removed_on_their_account(store: Blobs) -> None:
    good = Kept(reference="a", title="A", digests=(DIGEST,))
    store.note(good)
    index = Path(store.root, "index")
    whole = json.loads((index / f"{good.id}.json").read_text())
    wrongs: list[object] = [
        b"",
        bytes(500),
        b"[" * 100_000,
        [],
        {**whole, "version": 2},
        {**whole, "digests": ["sha256:../../x"]},
        {**whole, "digests": [5]},
        {**whole, "documents": "sha256:x"},
        {**whole, "documents": ["sha256:../../x"]},
        {**whole, "reference": "b"},
        {**whole, "date": -1},
        {**whole, "title": None},
    ]
    for number, wrong in enumerate(wrongs):
        data = wrong if isinstance(wrong, bytes) else json.dumps(wrong).encode()
        (index / f"{number:012}.json").write_bytes(data)
    (index / "link.json").symlink_to("/etc/passwd")
    (index / "folder.json").mkdir()
    records, problems = store.records()
    assert records == [good]
    assert len(problems) == len(wrongs) + 2
    assert all("Remove it" in each.hint for each in problems)
    spare = Path(store.root, "blobs/sha256", "b" * 64)
    spare.parent.mkdir(parents=True)
    spare.write_bytes(b"")
    assert len(store.prune().problems) == len(problems)
    assert spare.exists()


def test_a_store_that_is_a_link_is_not_followed(tmp_path: Path, server: FaultServer) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "blobs").symlink_to(elsewhere)
    store = Blobs(str(tmp_path / "images"))
    with pytest.raises(NspawnError, match="cannot be used"):
        drain(fetcher(server).open(blob(server), keep=store))
    assert list(elsewhere.iterdir()) == []


def test_a_download_that_is_kept_leaves_some_of_the_disk_free(needs_root: None, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    check(["mount", "-t", "tmpfs", "-o", "size=70m", "tmpfs", disk])
    try:
        part = Blobs(str(disk)).begin(DIGEST)
        assert part is not None
        for number in range(15):
            part.write(bytes(1 << 20), number << 20)
        with pytest.raises(OSError, match="No space left on device"):
            part.write(bytes(1 << 20), 15 << 20)
        assert os.fstat(part.descriptor).st_size == 15 << 20
        part.close()
    finally:
        check(["umount", disk])
