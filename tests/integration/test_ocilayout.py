"""Images in files: layouts and what `docker save` writes, whole and made to do harm."""

from __future__ import annotations

import gc
import gzip
import io
import json
import lzma
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from nspawn.errors import Damaged, NotFound, NspawnError, Unsupported
from nspawn.images import ocilayout, spool
from nspawn.images.spool import Peeked
from nspawn.model.image import LAYER, Image, LayerStream, Source
from nspawn.model.progress import Cancelled, Progress
from tests.support.ociimages import (
    INDEX,
    RUN_CONFIG,
    Layout,
    digest_of,
    docker_save,
    entry,
    folder,
    link,
    tar,
)

A, B, C = (tar([folder(name), entry(f"{name}/file", content=name.encode() * 3000)]) for name in "abc")
TAGS = ("registry.example/it:1", "registry.example/it:2")


def _resolve(source: Source | None) -> Image:
    assert source is not None
    return source.resolve(lambda _: None, lambda: False)


def _layers(source: Source, image: Image) -> list[bytes]:
    """The layers, unpacked, all opened before the first is read."""
    streams = [source.open(layer) for layer in image.layers]
    contents = []
    for layer, stream in zip(image.layers, streams, strict=True):
        data = _read_to_end(stream)
        stream.close()
        assert len(data) == layer.size
        contents.append(gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data)
    return contents


def _read_to_end(stream: LayerStream) -> bytes:
    parts = []
    while data := stream.read(1000):
        parts.append(data)
    return b"".join(parts)


def _usual() -> Layout:
    """Two machines, and an attestation."""
    layout = Layout()
    images = [
        layout.image([A, B], RUN_CONFIG, arch="amd64"),
        layout.image([C], {"User": "arm"}, arch="arm64"),
    ]
    paper = layout.image([tar([])], arch="unknown", platform=False)
    notes = {"vnd.docker.reference.type": "attestation-manifest"}
    images.insert(0, paper | {"platform": {"os": "unknown", "architecture": "unknown"}, "annotations": notes})
    layout.add(layout.index(images), TAGS[0])
    return layout


Form = Callable[[bytes, Path], "str | Peeked"]


def _file(data: bytes, place: Path) -> str:
    place.write_bytes(data)
    return str(place)


def _zstd(data: bytes) -> bytes:
    return subprocess.run(["zstd", "-qc"], input=data, capture_output=True, check=True).stdout


FORMS: dict[str, Form] = {
    "a file": _file,
    "a gz file": lambda data, place: _file(gzip.compress(data), place),
    "an xz file": lambda data, place: _file(lzma.compress(data), place),
    "a zst file": lambda data, place: _file(_zstd(data), place),
    "a pipe": lambda data, _place: Peeked(io.BytesIO(data)),
    "a gz pipe": lambda data, _place: Peeked(io.BytesIO(gzip.compress(data))),
    "two gz behind each other": lambda data, _place: Peeked(
        io.BytesIO(gzip.compress(data[:5000]) + gzip.compress(data[5000:]))
    ),
    "two xz behind each other": lambda data, _place: Peeked(
        io.BytesIO(lzma.compress(data[:5000]) + b"\0" * 8 + lzma.compress(data[5000:]))
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_layout_as_a_tar(tmp_path: Path, form: str) -> None:
    source = ocilayout.open_source(
        FORMS[form](_usual().tar(), tmp_path / "it.tar"),
        str(tmp_path / "spool"),
        title="it",
        machine="x86_64",
    )
    image = _resolve(source)
    assert source is not None
    assert _layers(source, image) == [A, B]
    assert [layer.kind for layer in image.layers] == [LAYER, LAYER]
    assert image.config is not None
    assert image.config.user == "web"
    assert image.arch == "amd64"
    # What was copied has no name, and is gone with the source.
    assert list((tmp_path / "spool").glob("*")) == []


@pytest.mark.parametrize(("machine", "layers"), [("x86_64", [A, B]), ("aarch64", [C])])
def test_a_layout_as_a_folder(tmp_path: Path, machine: str, layers: list[bytes]) -> None:
    place = _usual().write(tmp_path / "layout")
    source = ocilayout.open_source(str(place), str(tmp_path), machine=machine)
    image = _resolve(source)
    assert source is not None
    assert _layers(source, image) == layers
    assert image.title == f"layout ({'amd64' if machine == 'x86_64' else 'arm64'})"


def test_a_machine_that_it_is_not_for(tmp_path: Path) -> None:
    place = _usual().write(tmp_path / "layout")
    with pytest.raises(NotFound, match="linux/amd64, linux/arm64"):
        _resolve(ocilayout.open_source(str(place), str(tmp_path), machine="riscv64"))


def test_an_image_that_does_not_tell_its_machine_is_looked_at(tmp_path: Path) -> None:
    layout = Layout()
    layout.add(layout.image([A], arch="arm64", platform=False))
    place = str(layout.write(tmp_path / "layout"))
    assert _resolve(ocilayout.open_source(place, str(tmp_path), machine="arm64")).arch == "arm64"
    with pytest.raises(NotFound, match="it is for linux/arm64"):
        _resolve(ocilayout.open_source(place, str(tmp_path), machine="amd64"))


def test_one_of_several_by_its_name(tmp_path: Path) -> None:
    layout = Layout()
    layout.add(layout.image([A]), TAGS[0])
    layout.add(layout.image([B]), TAGS[1])
    place = str(layout.write(tmp_path / "layout"))
    for name, content in ((TAGS[0], A), ("2", B)):
        source = ocilayout.open_source(f"{place}#{name}", str(tmp_path), machine="amd64")
        assert source is not None
        assert _layers(source, _resolve(source)) == [content]
    for suffix in ("", "#3"):
        with pytest.raises(NotFound, match="it:1, registry") as caught:
            _resolve(ocilayout.open_source(f"{place}{suffix}", str(tmp_path), machine="amd64"))
        assert "FILE#NAME" in caught.value.hint


@pytest.mark.parametrize("form", ["a file", "a gz pipe"])
def test_docker_save(tmp_path: Path, form: str) -> None:
    data = docker_save([A, B], RUN_CONFIG, *TAGS)
    source = ocilayout.open_source(
        FORMS[form](data, tmp_path / "saved"), str(tmp_path / "s"), machine="amd64"
    )
    image = _resolve(source)
    assert source is not None
    assert _layers(source, image) == [A, B]
    assert image.config is not None
    assert image.config.entrypoint == ("/bin/sh", "-c")


def test_docker_save_as_other_programs_write_it(tmp_path: Path) -> None:
    """Compressed layers named by themselves; a layer that is a link to another that is the same."""
    packed = gzip.compress(A)
    config = json.dumps(
        {
            "os": "linux",
            "architecture": "amd64",
            "rootfs": {"diff_ids": [digest_of(A), digest_of(B), digest_of(B)]},
        }
    ).encode()
    name = f"{digest_of(packed)[7:]}.tar.gz"
    listed = [{"Config": digest_of(config), "RepoTags": None, "Layers": [name, "b/layer.tar", "c/layer.tar"]}]
    data = tar(
        [
            entry(digest_of(config), content=config),
            entry(name, content=packed),
            entry("b/layer.tar", content=B),
            link("c/layer.tar", "../b/layer.tar"),
            entry("manifest.json", content=json.dumps(listed).encode()),
        ]
    )
    source = ocilayout.open_source(_file(data, tmp_path / "saved"), str(tmp_path), machine="amd64")
    assert source is not None
    assert _layers(source, _resolve(source)) == [A, B, B]


def test_docker_save_of_several(tmp_path: Path) -> None:
    config = json.dumps(
        {"os": "linux", "architecture": "amd64", "rootfs": {"diff_ids": [digest_of(A)]}}
    ).encode()
    name = f"{digest_of(config)[7:]}.json"
    listed = [{"Config": name, "RepoTags": [tag], "Layers": ["l/layer.tar"]} for tag in TAGS]
    members = [entry("manifest.json", content=json.dumps(listed).encode()), entry(name, content=config)]
    place = _file(tar([*members, entry("l/layer.tar", content=A)]), tmp_path / "saved")
    with pytest.raises(NotFound, match=r"several images: it has registry\.example/it:1"):
        _resolve(ocilayout.open_source(place, str(tmp_path), machine="amd64"))
    assert _resolve(ocilayout.open_source(f"{place}#2", str(tmp_path), machine="amd64")).layers


@pytest.mark.parametrize(
    "names",
    [
        ["./", "./bin/", "./bin/sh"],
        ["bin/sh"],
        ["etc/", "etc/passwd"],
        ["index.html"],
        ["manifest.json.d/"],
        ["0123456789abcdef"],
        ["blobs.txt"],
        [],
    ],
)
@pytest.mark.parametrize("packed", [bytes, gzip.compress, lzma.compress, _zstd])
def test_a_root_file_system_is_no_image(
    names: list[str], packed: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    members = [folder(name) if name.endswith("/") else entry(name, content=b"x" * 4096) for name in names]
    data = packed(tar(members))
    assert ocilayout.open_source(_file(data, tmp_path / "it"), str(tmp_path)) is None
    peeked = Peeked(io.BytesIO(data))
    assert ocilayout.open_source(peeked, str(tmp_path)) is None
    assert b"".join(iter(lambda: peeked.read(999), b"")) == data


@pytest.mark.parametrize("data", [b"", b"\0" * 5000, b"x" * 5000, os.urandom(5000), b"\x1f\x8b" + b"x" * 500])
def test_what_is_no_tar_is_no_image(data: bytes, tmp_path: Path) -> None:
    assert ocilayout.open_source(_file(data, tmp_path / "it"), str(tmp_path)) is None


def test_a_folder_that_is_no_image(tmp_path: Path) -> None:
    assert ocilayout.open_source(str(tmp_path), str(tmp_path)) is None
    with pytest.raises(NotFound):
        ocilayout.open_source(str(tmp_path / "nothing"), str(tmp_path))


# Harm


def _read_all(layout: Layout | bytes, tmp_path: Path, machine: str = "amd64") -> list[bytes]:
    data = layout if isinstance(layout, bytes) else layout.tar()
    file = _file(data, tmp_path / "it.tar")
    source = ocilayout.open_source(file, str(tmp_path), title="it", machine=machine)
    assert source is not None
    return _layers(source, _resolve(source))


def test_every_blob_is_compared_with_its_digest(tmp_path: Path) -> None:
    for digest in _usual().blobs:
        layout = _usual()
        used = _uses(layout)
        data = layout.blobs[digest]
        layout.blobs[digest] = data[:-1] + bytes((data[-1] ^ 1,))
        if digest not in used:
            assert _read_all(layout, tmp_path) == [A, B]
            continue
        with pytest.raises(Damaged, match="its digest is"):
            _read_all(layout, tmp_path)


def test_every_blob_is_compared_with_its_size(tmp_path: Path) -> None:
    for digest in _uses(_usual()):
        layout = _usual()
        layout.blobs[digest] += b" "
        with pytest.raises(Damaged):
            _read_all(layout, tmp_path)


def test_every_blob_must_be_there(tmp_path: Path) -> None:
    for digest in _uses(_usual()):
        layout = _usual()
        del layout.blobs[digest]
        with pytest.raises(Damaged, match="not whole"):
            _read_all(layout, tmp_path)


def _uses(layout: Layout) -> list[str]:
    """What is needed on amd64."""
    top = layout.entries[0]["digest"]
    manifest = json.loads(layout.blobs[top])["manifests"][1]["digest"]
    document = json.loads(layout.blobs[manifest])
    return [top, manifest, document["config"]["digest"], *(layer["digest"] for layer in document["layers"])]


def test_docker_save_is_compared_as_well(tmp_path: Path) -> None:
    data = docker_save([A, B], {"User": "web"})
    place = data.index(b"bbbb")
    with pytest.raises(Damaged, match="its digest is"):
        _read_all(data[:place] + b"X" + data[place + 1 :], tmp_path)
    place = data.index(b'"web"')
    with pytest.raises(Damaged, match="its digest is"):
        _read_all(data[: place + 1] + b"r" + data[place + 2 :], tmp_path)


def test_indexes_without_an_end(tmp_path: Path) -> None:
    layout = Layout()
    image = layout.image([A])
    for _ in range(3):
        image = layout.index([image])
    layout.add(image)
    assert _read_all(layout, tmp_path) == [A]
    for _ in range(5):
        image = layout.index([image])
    layout.entries = [image]
    with pytest.raises(Damaged, match="without an end"):
        _read_all(layout, tmp_path)


def test_an_index_that_names_itself(tmp_path: Path) -> None:
    """No digest allows it; a document that says so is not what its digest says."""
    layout = Layout()
    digest = "sha256:" + "a" * 64
    data = json.dumps(
        {"schemaVersion": 2, "manifests": [{"mediaType": INDEX, "digest": digest, "size": 150}]}
    ).encode()
    layout.blobs[digest] = data
    layout.add({"mediaType": INDEX, "digest": digest, "size": len(data)})
    with pytest.raises(Damaged, match="its digest is"):
        _read_all(layout, tmp_path)


def test_huge_documents(tmp_path: Path) -> None:
    layout = _usual()
    top = layout.put(b" " * (5 << 20), INDEX)
    layout.entries = [top]
    with pytest.raises(Damaged, match="bytes"):
        _read_all(layout, tmp_path)


def test_layers_that_cannot_be_used(tmp_path: Path) -> None:
    layout = Layout()
    layout.add(layout.image([A], kind="xz"))
    with pytest.raises(Unsupported, match="tar, gzip or zstd"):
        _read_all(layout, tmp_path)


@pytest.mark.parametrize("what", ["file", "blobs", "algorithm", "fifo", "folder", "index"])
def test_links_and_the_like_in_a_folder_are_not_followed(what: str, tmp_path: Path) -> None:
    layout = _usual()
    place = layout.write(tmp_path / "layout")
    blob = place / f"blobs/{_uses(layout)[-1].replace(':', '/')}"
    moved = {"file": blob, "fifo": blob, "folder": blob, "blobs": place / "blobs"}
    moved |= {"algorithm": place / "blobs/sha256", "index": place / "index.json"}
    target = tmp_path / "outside"
    moved[what].rename(target)
    if what == "fifo":
        os.mkfifo(blob)
    elif what == "folder":
        blob.mkdir()
    else:
        moved[what].symlink_to(target)
    with pytest.raises(Damaged, match=r"not followed|not a file"):
        _resolve(ocilayout.open_source(str(place), str(tmp_path), machine="amd64"))


def _header(name: str, size: int, kind: bytes = b"0") -> bytes:
    block = bytearray(512)
    block[0 : len(name)] = name.encode()
    block[124:136] = b"%011o\0" % size if size < 8**11 else b"\x80" + size.to_bytes(11, "big")
    block[156:157] = kind
    block[257:263] = b"ustar\0"
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


_MARK = _header("oci-layout", 0)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (_header("index.json", 1 << 40), "cut off|in the middle"),
        (_header("index.json", 1 << 61), "cut off|in the middle"),
        (_MARK + _header("x", 1 << 20, b"x") + b"1" * (1 << 20), "too long"),
        (_MARK + _header("x", 512, b"x") + b"99999 path=x\n" + b"\0" * 499, "damaged"),
        (_MARK + _header("x", 512, b"x") + b"0 path=x\n" + b"\0" * 503, "damaged"),
        (_MARK + _header("x", 9, b"x") + b"9 size=-\n" + b"\0" * 503 + _header("index.json", 0), "is none"),
        (_MARK + _header("index.json", 1000, b"S") + b"\0" * 1024, "holes"),
        (_MARK + _header("blobs/x", 0) * 30_000, "members"),
        (_MARK + b"garbage!" * 64, "is none"),
        (_MARK + _header("index.json", 0)[:-1] + b"x", "not a tar"),
        (_MARK + _header("index.json", 0) + b"\0" * 1024, "not JSON"),
        (_MARK + b"\0" * 1024, "holds no image"),
        (_header("repositories", 0) + b"\0" * 1024, "holds no image"),
    ],
)
def test_tars_that_are_refused(data: bytes, why: str, tmp_path: Path) -> None:
    with pytest.raises(Damaged) as caught:
        _read_all(data, tmp_path)
    assert any(word in f"{caught.value} {caught.value.hint}" for word in why.split("|")), str(caught.value)


def test_links_in_a_tar_lead_nowhere_else(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"[]")
    for to in (str(secret), "../secret", "manifest.json", "index.json"):
        data = tar([link("manifest.json", to), link("index.json", "manifest.json")])
        with pytest.raises(Damaged, match="holds no image"):
            _read_all(data, tmp_path)


@pytest.mark.parametrize("form", ["a gz pipe", "a pipe"])
def test_a_copy_that_is_cancelled(form: str, tmp_path: Path) -> None:
    steps: list[Progress] = []
    data = _usual().tar() + b"\0" * (4 << 20)
    source = ocilayout.open_source(FORMS[form](data, tmp_path / "it"), str(tmp_path / "spool"))
    assert source is not None
    with pytest.raises(Cancelled):
        source.resolve(steps.append, lambda: len(steps) > 0)
    assert list((tmp_path / "spool").glob("*")) == []


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress, _zstd], ids=["gz", "xz", "zst"])
@pytest.mark.parametrize("harm", ["cut", "flipped"])
def test_a_packed_tar_that_is_damaged(pack: Callable[[bytes], bytes], harm: str, tmp_path: Path) -> None:
    layout = _usual()
    layout.blobs["sha256:" + "0" * 64] = os.urandom(3 << 20)
    data = bytearray(pack(layout.tar()))
    if harm == "cut":
        del data[-(1 << 20) :]
    else:
        data[2 << 20] ^= 1
    source = ocilayout.open_source(Peeked(io.BytesIO(data)), str(tmp_path / "s"), machine="amd64")
    assert source is not None
    with pytest.raises(NspawnError):
        _layers(source, _resolve(source))


def test_an_xz_that_wants_much_memory(tmp_path: Path) -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": 256 << 20}]
    data = lzma.compress(_usual().tar(), filters=filters)
    peeked = Peeked(io.BytesIO(data))
    assert ocilayout.open_source(peeked, str(tmp_path)) is None
    with pytest.raises(Damaged, match=r"[Mm]emory"):
        spool.spool(Peeked(io.BytesIO(data)), data[:6], str(tmp_path), lambda _: None, lambda: False)


@pytest.mark.root
@pytest.mark.parametrize("form", ["a pipe", "a gz pipe", "a zst file"])
def test_a_copy_that_does_not_fit(form: str, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=70M", "tmpfs", disk], check=True)
    try:
        layout = _usual()
        layout.blobs["sha256:" + "0" * 64] = b"\0" * (90 << 20)
        source = ocilayout.open_source(
            FORMS[form](layout.tar(), tmp_path / "it"), str(disk / "spool"), machine="amd64"
        )
        with pytest.raises(NspawnError, match="No space left") as caught:
            _resolve(source)
        assert "Free some space" in caught.value.hint
        assert list((disk / "spool").glob("*")) == []
    finally:
        subprocess.run(["umount", disk], check=True)


def test_no_descriptor_is_left(tmp_path: Path) -> None:
    gc.collect()  # what earlier tests left
    before = len(os.listdir("/proc/self/fd"))
    for name, form in FORMS.items():
        source = ocilayout.open_source(form(_usual().tar(), tmp_path / "it"), str(tmp_path), machine="amd64")
        assert source is not None, name
        _layers(source, _resolve(source))
    source = ocilayout.open_source(str(_usual().write(tmp_path / "l")), str(tmp_path), machine="amd64")
    _resolve(source)
    del source
    assert len(os.listdir("/proc/self/fd")) <= before  # fewer: one of an earlier test has gone


def test_a_file_that_gets_shorter_meanwhile(tmp_path: Path) -> None:
    place = tmp_path / "it.tar"
    source = ocilayout.open_source(_file(_usual().tar(), place), str(tmp_path), machine="amd64")
    image = _resolve(source)
    assert source is not None
    os.truncate(place, 600)
    with source.open(image.layers[0]) as stream, pytest.raises(Damaged, match="shorter"):
        _read_to_end(stream)
