from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nspawn.errors import Damaged, NotFound, NspawnError, Unsupported
from nspawn.model import dockersave, ociconfig, ocimanifest, ociplatform
from nspawn.model.ocimanifest import Index, Manifest
from tests.support.ociimages import INDEX, LIST, MANIFEST, MANIFEST2, Layout, tar

LAYER = tar([])
DIGEST = "sha256:" + "a" * 64
MANY = b"[" + b"[]," * 1_000_000 + b"[]]"


def _descriptor(**more: Any) -> dict[str, Any]:
    return {"mediaType": MANIFEST, "digest": DIGEST, "size": 5} | more


def _manifest(**more: Any) -> dict[str, Any]:
    return {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": _descriptor(mediaType="application/vnd.oci.image.config.v1+json"),
        "layers": [_descriptor(mediaType="application/vnd.oci.image.layer.v1.tar+gzip")],
    } | more


def _parse(value: object, media_type: str = "") -> Index | Manifest:
    return ocimanifest.parse(json.dumps(value).encode(), media_type)


@pytest.mark.parametrize("docker", [False, True])
@pytest.mark.parametrize(("kind", "packed"), [("", "tar"), ("gzip", "gz"), ("zstd", "zst")])
def test_a_manifest(docker: bool, kind: str, packed: str) -> None:
    layout = Layout()
    top = layout.image([LAYER, tar([]) + b"\0" * 512], docker=docker, kind=kind)
    found = ocimanifest.parse(layout.blobs[top["digest"]])
    assert isinstance(found, Manifest)
    assert [ocimanifest.compression(layer.media_type) for layer in found.layers] == [packed, packed]
    assert found.config.digest in layout.blobs


@pytest.mark.parametrize("docker", [False, True])
def test_an_index(docker: bool) -> None:
    layout = Layout()
    images = [layout.image([LAYER], {"User": arch}, arch=arch, docker=docker) for arch in ("amd64", "arm64")]
    top = layout.index(images, docker=docker)
    found = ocimanifest.parse(layout.blobs[top["digest"]])
    assert isinstance(found, Index)
    assert [str(image.platform) for image in found.images] == ["linux/amd64", "linux/arm64"]


def _images(*platforms: tuple[str, str, str] | None) -> Index:
    items = []
    for number, each in enumerate(platforms):
        platform = each and {"os": each[0], "architecture": each[1], "variant": each[2]}
        items.append(_descriptor(digest="sha256:" + f"{number:x}" * 64, platform=platform))
    found = _parse({"schemaVersion": 2, "mediaType": INDEX, "manifests": items})
    assert isinstance(found, Index)
    return found


L = "linux"
ARMS = ((L, "arm", "v5"), (L, "arm", "v6"), (L, "arm", "v7"), (L, "arm64", "v8"))


@pytest.mark.parametrize(
    ("machine", "platforms", "chosen"),
    [
        ("x86_64", ((L, "arm64", ""), (L, "amd64", "")), 1),
        ("x86_64", ((L, "amd64", "v3"), (L, "amd64", "")), 1),
        ("x86_64", ((L, "amd64", "v3"),), None),
        ("x86_64", (("windows", "amd64", ""), (L, "386", "")), None),
        ("x86_64", (("", "amd64", ""),), None),
        ("aarch64", ARMS, 3),
        ("aarch64", ((L, "arm64", ""),), 0),
        ("aarch64", ((L, "arm64", ""), (L, "arm64", "v8")), 1),
        ("aarch64", ARMS[:3], None),
        ("armv8l", ARMS, 2),
        ("armv7l", ARMS[:2], 1),
        ("armv7l", ((L, "arm", ""), (L, "arm", "v6")), 0),
        ("armv6l", ARMS, 1),
        ("armhf", ARMS, 2),
        ("linux/arm/v6", ARMS, 1),
        ("i686", ((L, "386", ""),), 0),
        ("riscv64", ((L, "riscv64", ""),), 0),
        ("x86_64", (None,), 0),
        ("x86_64", (None, (L, "arm64", "")), 0),
        ("x86_64", (None, None), None),
        ("x86_64", (), None),
    ],
)
def test_the_image_for_a_machine(machine: str, platforms: Any, chosen: int | None) -> None:
    index = _images(*platforms)
    wanted = ociplatform.parse(machine)
    if chosen is None:
        with pytest.raises(NotFound, match="it") as caught:
            ocimanifest.choose(index, wanted, "docker.io/library/it:1")
        for each in platforms:
            assert each is None or each[1] in str(caught.value)
    else:
        assert ocimanifest.choose(index, wanted, "it") == index.images[chosen]


def test_attestations_and_other_things_beside_images_are_none() -> None:
    unknown = {"os": "unknown", "architecture": "unknown"}
    notes = {"vnd.docker.reference.type": "attestation-manifest"}
    index = _parse(
        {
            "schemaVersion": 2,
            "mediaType": INDEX,
            "manifests": [
                _descriptor(platform=unknown, annotations=notes),
                _descriptor(annotations=notes),
                _descriptor(mediaType="application/vnd.example.signature"),
                _descriptor(digest="sha256:" + "b" * 64),
            ],
        }
    )
    assert isinstance(index, Index)
    assert ocimanifest.choose(index, ociplatform.parse("x86_64"), "it").digest == "sha256:" + "b" * 64


@pytest.mark.parametrize("name", ["", "vax", "linux/amd64/v1/x", "windows/amd64", "x" * 1000, "a\0b"])
def test_machines_that_are_none(name: str) -> None:
    with pytest.raises(NspawnError, match="not an architecture"):
        ociplatform.parse(name)


@pytest.mark.parametrize(
    ("value", "error", "why"),
    [
        ([], Damaged, "expected an object"),
        ({}, Damaged, "config"),
        (_manifest(layers=[]), Unsupported, "no layers"),
        (_manifest(layers={}), Damaged, "expected a list"),
        (_manifest(layers=[_descriptor()] * 513), Damaged, "513 entries"),
        (_manifest(layers=[3]), Damaged, "layer 1"),
        (_manifest(layers=[_descriptor(size=-1)]), Damaged, "its size is"),
        (_manifest(layers=[_descriptor(size=True)]), Damaged, "its size is"),
        (_manifest(layers=[_descriptor(size=1 << 70)]), Damaged, "its size is"),
        (_manifest(layers=[_descriptor(size="7")]), Damaged, "its size is"),
        (_manifest(layers=[_descriptor(digest="sha256:../../x")]), Damaged, "not a digest"),
        (_manifest(layers=[_descriptor(digest="sha256:" + "A" * 64)]), Damaged, "not a digest"),
        (_manifest(layers=[_descriptor(digest="sha512:" + "a" * 128)]), Unsupported, "sha512"),
        (_manifest(layers=[_descriptor(digest=None)]), Damaged, "expected text"),
        (_manifest(layers=[_descriptor(mediaType="a\nb")]), Damaged, "line of text"),
        (
            _manifest(config=_descriptor(mediaType="application/vnd.cncf.helm.config.v1+json")),
            Unsupported,
            "helm",
        ),
        (_manifest(manifests=[]), Damaged, "index and a manifest at once"),
        ({"schemaVersion": 2, "mediaType": INDEX, "manifests": [], "config": {}}, Damaged, "at once"),
        ({"schemaVersion": 2, "mediaType": MANIFEST, "manifests": []}, Damaged, "media type"),
        (_manifest(mediaType=LIST), Damaged, "media type"),
        ({"schemaVersion": 2, "manifests": [_descriptor()] * 1025}, Damaged, "1025 entries"),
        ({"schemaVersion": 2, "manifests": [_descriptor(platform=4)]}, Damaged, "platform"),
        ({"schemaVersion": 2, "manifests": [_descriptor(annotations=[1])]}, Damaged, "annotations"),
        ({"schemaVersion": 1, "fsLayers": []}, Unsupported, "Docker's first kind"),
    ],
)
def test_manifests_that_are_refused(value: Any, error: type[NspawnError], why: str) -> None:
    with pytest.raises(error) as caught:
        _parse(value)
    assert why in str(caught.value)


@pytest.mark.parametrize(
    ("media_type", "why"),
    [
        ("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", "its maker's own server"),
        ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "its maker's own server"),
        ("application/vnd.oci.image.layer.v1.tar+gzip+encrypted", "encrypted"),
        ("application/vnd.oci.image.layer.v1.tar+xz", "tar, gzip or zstd"),
        ("application/vnd.wasm.content.layer.v1+wasm", "no part of a root file system"),
        ("", "no part of a root file system"),
    ],
)
def test_layers_that_are_refused(media_type: str, why: str) -> None:
    with pytest.raises(Unsupported) as caught:
        _parse(_manifest(layers=[_descriptor(mediaType=media_type)]))
    assert why in str(caught.value)


@pytest.mark.parametrize(
    "data",
    [b"", b"\xff\xfe", b"{", b"[" * 100_000, b'{"a":' * 100_000, b" " * (4 << 20) + b"{}", MANY],
    ids=["empty", "no-text", "cut", "deep-lists", "deep-objects", "large", "many"],
)
def test_bytes_that_are_refused(data: bytes) -> None:
    with pytest.raises(Damaged):
        ocimanifest.parse(data)
    with pytest.raises(Damaged):
        dockersave.choose(data, "", "the file")


def test_a_million_values_are_refused_before_they_are_made() -> None:
    asked: list[Callable[[], object]] = [
        lambda: ocimanifest.read(MANY, "the manifest"),
        lambda: dockersave.choose(b"[" + MANY + b"]", "", "the file"),
    ]
    tracemalloc.start()
    try:
        for ask in asked:
            with pytest.raises(Damaged, match="more than 200000 values"):
                ask()
        assert tracemalloc.get_traced_memory()[1] < 16 << 20  # the texts themselves
    finally:
        tracemalloc.stop()


def test_large_documents_that_are_meant_so_are_read() -> None:
    notes = {f"org.example.note-{number}": "a, b [c] {d}" for number in range(10)}
    index = {"manifests": [_descriptor(annotations=notes) for _ in range(1000)]}
    found = _parse(index, INDEX)
    assert isinstance(found, Index)
    assert len(found.images) == 1000


def test_the_type_that_a_registry_tells_counts_where_a_document_does_not() -> None:
    value = _manifest()
    del value["mediaType"]
    assert isinstance(_parse(value, f"{MANIFEST2}; charset=utf-8"), Manifest)
    assert isinstance(_parse(value), Manifest)
    with pytest.raises(Damaged, match="media type"):
        _parse(value, LIST)


_KEYS = (
    *("config", "layers", "manifests", "mediaType", "digest", "size", "platform", "os", "annotations"),
    *("rootfs", "diff_ids", "Entrypoint", "Cmd", "Env", "User", "ExposedPorts", "Volumes", "StopSignal"),
)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.just(DIGEST) | st.just(MANIFEST),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_KEYS), inner, max_size=5),
    max_leaves=20,
)


def _outcome(call: Callable[[], object]) -> str:
    try:
        return type(call()).__name__
    except NspawnError as error:
        return str(error)


@settings(max_examples=300, deadline=None)
@given(_VALUES)
def test_whatever_they_say_is_read_or_refused(value: Any) -> None:
    assert _outcome(lambda: _parse(value)).isprintable()
    if isinstance(value, dict):
        assert _outcome(lambda: ociconfig.parse({"config": value, **value}, 1)).isprintable()
