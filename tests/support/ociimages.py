"""Images as layouts of the OCI, built by hand: nothing of the program's own is used for it."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import subprocess
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

OCI = "application/vnd.oci.image."
DOCKER = "application/vnd.docker."
INDEX, MANIFEST, CONFIG = f"{OCI}index.v1+json", f"{OCI}manifest.v1+json", f"{OCI}config.v1+json"
LIST, MANIFEST2 = f"{DOCKER}distribution.manifest.list.v2+json", f"{DOCKER}distribution.manifest.v2+json"
Descriptor = dict[str, Any]


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def entry(name: str, **attributes: Any) -> tuple[tarfile.TarInfo, bytes]:
    """A member of a layer.  content: bytes of a file; the rest are attributes of TarInfo."""
    content = attributes.pop("content", b"")
    info = tarfile.TarInfo(name)
    info.mtime = 1_700_000_000
    info.mode = 0o755 if attributes.get("type") == tarfile.DIRTYPE else 0o644
    for key, value in attributes.items():
        setattr(info, key, value)
    info.size = len(content)
    return info, content


def folder(name: str, **attributes: Any) -> tuple[tarfile.TarInfo, bytes]:
    return entry(name, type=tarfile.DIRTYPE, **attributes)


def link(name: str, to: str, *, hard: bool = False) -> tuple[tarfile.TarInfo, bytes]:
    return entry(name, type=tarfile.LNKTYPE if hard else tarfile.SYMTYPE, linkname=to)


def tar(entries: Iterable[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for info, content in entries:
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


def pack(data: bytes, kind: str) -> bytes:
    if kind == "gzip":
        return gzip.compress(data, 1, mtime=0)
    if kind == "zstd":
        return subprocess.run(["zstd", "-qc"], input=data, capture_output=True, check=True).stdout
    return data


@dataclass
class Layout:
    """Blobs, and the descriptors of the index."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    entries: list[Descriptor] = field(default_factory=list)

    def put(self, data: bytes, media_type: str, **more: Any) -> Descriptor:
        digest = digest_of(data)
        self.blobs[digest] = data
        return {"mediaType": media_type, "digest": digest, "size": len(data), **more}

    def json(self, value: object, media_type: str, **more: Any) -> Descriptor:
        return self.put(json.dumps(value).encode(), media_type, **more)

    def image(
        self,
        layers: Iterable[bytes],
        config: Mapping[str, Any] | None = None,
        *,
        arch: str = "amd64",
        variant: str = "",
        kind: str = "gzip",
        docker: bool = False,
        platform: bool = True,
    ) -> Descriptor:
        """A manifest of these layers (tars).  kind: "", "gzip" or "zstd"."""
        tars = list(layers)
        form = f"{DOCKER}image.rootfs.diff.tar" if docker else f"{OCI}layer.v1.tar"
        suffix = ("." if docker else "+") + kind if kind else ""
        machine = {"os": "linux", "architecture": arch} | ({"variant": variant} if variant else {})
        document = {
            **machine,
            "config": dict(config or {}),
            "rootfs": {"type": "layers", "diff_ids": [digest_of(each) for each in tars]},
        }
        media_type = MANIFEST2 if docker else MANIFEST
        manifest = {
            "schemaVersion": 2,
            "mediaType": media_type,
            "config": self.json(document, f"{DOCKER}container.image.v1+json" if docker else CONFIG),
            "layers": [self.put(pack(each, kind), f"{form}{suffix}") for each in tars],
        }
        return self.json(manifest, media_type, **({"platform": machine} if platform else {}))

    def index(self, images: Iterable[Descriptor], *, docker: bool = False, **more: Any) -> Descriptor:
        media_type = LIST if docker else INDEX
        value = {"schemaVersion": 2, "mediaType": media_type, "manifests": list(images)}
        return self.json(value, media_type, **more)

    def add(self, image: Descriptor, name: str = "") -> None:
        """Into the layout's own index."""
        notes = {"annotations": {"org.opencontainers.image.ref.name": name}} if name else {}
        self.entries.append(image | notes)

    def files(self) -> dict[str, bytes]:
        """All files of the layout by their names."""
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": self.entries}
        return {
            **{f"blobs/{digest.replace(':', '/')}": data for digest, data in self.blobs.items()},
            "oci-layout": b'{"imageLayoutVersion": "1.0.0"}',
            "index.json": json.dumps(index).encode(),
        }

    def write(self, target: Path) -> Path:
        """As a folder."""
        for name, data in self.files().items():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_bytes(data)
        return target

    def tar(self) -> bytes:
        """As a tar, its index at the end, as programs write it."""
        return tar(
            [folder("blobs"), folder("blobs/sha256"), *(entry(n, content=d) for n, d in self.files().items())]
        )


def docker_save(
    layers: Iterable[bytes], config: Mapping[str, Any], *names: str, arch: str = "amd64"
) -> bytes:
    """What `docker save` of old wrote: uncompressed layers in folders, manifest.json at the end."""
    tars = list(layers)
    document = json.dumps(
        {
            "os": "linux",
            "architecture": arch,
            "config": dict(config),
            "rootfs": {"type": "layers", "diff_ids": [digest_of(each) for each in tars]},
        }
    ).encode()
    members = []
    paths = []
    for each in tars:
        number = hashlib.sha256(b"id" + each).hexdigest()
        members += [
            folder(number),
            entry(f"{number}/VERSION", content=b"1.0"),
            entry(f"{number}/json", content=b"{}"),
        ]
        members += [entry(f"{number}/layer.tar", content=each)]
        paths.append(f"{number}/layer.tar")
    name = f"{hashlib.sha256(document).hexdigest()}.json"
    listed = [{"Config": name, "RepoTags": list(names) or None, "Layers": paths}]
    return tar(
        [*members, entry(name, content=document), entry("manifest.json", content=json.dumps(listed).encode())]
    )


def busybox_layers(program: bytes) -> list[bytes]:
    """Three layers that use all of what layers can do; `EXPECTED` is what is left at the end."""
    first = tar(
        [
            folder("bin"),
            entry("bin/busybox", content=program, mode=0o755),
            link("bin/sh", "busybox"),
            folder("etc"),
            entry("etc/passwd", content=b"root:x:0:0::/root:/bin/sh\nweb:x:1234:1234::/srv:/bin/sh\n"),
            entry("etc/group", content=b"root:x:0:\nweb:x:1234:\n"),
            entry("etc/gone", content=b"removed by a whiteout\n"),
            entry("etc/changed", content=b"old\n"),
            folder("opaque"),
            entry("opaque/old", content=b"hidden\n"),
            folder("opaque/below"),
            entry("opaque/below/old", content=b"hidden\n"),
            entry("file-then-folder", content=b"a file\n"),
            folder("folder-then-file"),
            entry("folder-then-file/inside", content=b"inside\n"),
            folder("tree"),
            entry("tree/inside", content=b"goes with its folder\n"),
            entry("linked", content=b"hard\n", mode=0o640, uid=1234, gid=1234),
            folder("srv", uid=1234, gid=1234),
        ]
    )
    second = tar(
        [
            entry("etc/.wh.gone"),
            entry("etc/changed", content=b"new\n", mode=0o600),
            folder("opaque"),
            entry("opaque/new", content=b"shown\n"),
            entry("opaque/.wh..wh..opq"),
            entry(".wh.tree"),
            entry(".wh.never-there"),
            folder("file-then-folder", mode=0o700),
            entry("file-then-folder/inside", content=b"now inside\n"),
            entry("folder-then-file", content=b"now a file\n"),
            link("etc/linked-again", "linked", hard=True),
        ]
    )
    third = tar([entry("linked", content=b"no longer hard\n"), entry("etc/gone", content=b"again\n")])
    return [first, second, third]


#: Files after all layers of `busybox_layers`, with what is in them.
EXPECTED = {
    "etc/gone": b"again\n",
    "etc/changed": b"new\n",
    "opaque/new": b"shown\n",
    "file-then-folder/inside": b"now inside\n",
    "folder-then-file": b"now a file\n",
    "linked": b"no longer hard\n",
    "etc/linked-again": b"hard\n",
}
GONE = (
    "opaque/old",
    "opaque/below",
    "tree",
    "folder-then-file/inside",
    "etc/.wh.gone",
    "opaque/.wh..wh..opq",
)
RUN_CONFIG = {
    "Entrypoint": ["/bin/sh", "-c"],
    "Cmd": ["id -un; pwd; echo $GREETING"],
    "Env": ["PATH=/bin", "GREETING=hello from the image"],
    "User": "web",
    "WorkingDir": "/srv",
    "ExposedPorts": {"80/tcp": {}, "53/udp": {}},
    "StopSignal": "SIGQUIT",
    "Volumes": {"/data": {}},
}
