"""Images from registries (OCI distribution specification): what a reference stands for, and its layers.

Whatever arrives is named by its sha256 and compared with it; a tag is worth what its registry says over
TLS, and what it says is noted as the image's serial.  The layers' unpacked digests (`diff_ids`) are not
computed: the manifest's digest fixes every byte of the layers as they arrive, and with them what they hold;
hashing a gigabyte once more would only prove that the image's maker can add.

What is kept needs no registry: whatever has a digest is taken from the store, and what a tag led to when it
was kept is taken, with a note, while nobody answers.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from nspawn.errors import Busy, Damaged, NotFound, NspawnError, Unreachable
from nspawn.images import registryauth
from nspawn.images.fetch import Fetcher
from nspawn.images.http import Client
from nspawn.model import age, ociconfig, ocimanifest, ociplatform, ociref
from nspawn.model.blob import Blob
from nspawn.model.image import LAYER, Image, Layer
from nspawn.model.ocimanifest import Manifest
from nspawn.model.progress import Asked, Cancelled, Progress, Report

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nspawn.images.blobs import Blobs, Kept
    from nspawn.images.credentials import Credential
    from nspawn.images.fetch import Stream
    from nspawn.images.http import Answer
    from nspawn.model.fetching import Fetching
    from nspawn.model.imageref import Registry
    from nspawn.model.ocimanifest import Descriptor


#: Of the tag's manifest, when what it led to before is kept.
_QUICK_RETRIES = 2


class RegistrySource:
    """A `model.image.Source` for one reference.

    machine: as uname(2) or people name it.  credential: of this registry, None to be nobody.  keep: blobs
    are taken from there and stored there.  store: they are only taken from there.
    """

    def __init__(
        self,
        reference: Registry,
        fetching: Fetching,
        cancelled: Asked,
        *,
        machine: str = "",
        credential: Credential | None = None,
        keep: Blobs | None = None,
        store: Blobs | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._reference = reference
        self._machine = ociplatform.parse(machine or os.uname().machine)
        self._credential = credential
        self._keep = keep
        self._store = keep or store
        self._known = self._find()
        asking = fetching
        if self._known is not None:
            asking = fetching._replace(retries=min(fetching.retries, _QUICK_RETRIES))
        plain = Client(asking, cancelled=cancelled, environ=environ)
        self._authority = registryauth.Authority(plain, reference.host, reference.repository, credential)
        self._client = Client(asking, authorize=self._authority, cancelled=cancelled, environ=environ)
        fetches = self._client
        if asking is not fetching:
            fetches = Client(fetching, authorize=self._authority, cancelled=cancelled, environ=environ)
        self._fetcher = Fetcher(fetches, fetching, cancelled, store=store)

    def resolve(self, report: Report, cancelled: Asked) -> Image:
        """Ask the registry: only manifests and the configuration are fetched, and not what is stored.

        Raises NotFound (no such image or tag, or none for this machine), Damaged, Unsupported, Busy after
        too many requests, NspawnError with what to do when a login is needed.
        """
        report(Progress(phase=f"asking {self._reference.host}"))
        try:
            return self._resolve(ociref.wanted(self._reference), cancelled)
        except (Unreachable, Busy) as error:
            known = self._known
            if known is None:
                raise
            found = self._resolve(known.documents[0], cancelled)
            note = f"{error.what}; what was kept {age.ago(time.time() - known.date)} ago is used"
            return replace(found, notes=(note, *found.notes), since=known.date)

    def _find(self) -> Kept | None:
        """What is kept of the reference, when it can be used without the registry."""
        if self._store is None:
            return None
        found = self._store.find(str(self._reference), ociplatform.name(self._machine))
        return found if found is not None and found.documents else None

    def _resolve(self, wanted: str, cancelled: Asked) -> Image:
        """The image of a tag or digest."""
        what = str(self._reference)
        data, media_type = self._ask(wanted)
        serial = ocimanifest.digest_of(data)
        documents = [data]
        manifest = self._manifest(data, media_type, documents, cancelled)
        documents.append(self._config(manifest.config))
        config = ocimanifest.read(documents[-1], "the image's configuration")
        if not ociconfig.suits(config, self._machine):
            raise ocimanifest.missing(what, self._machine, [ociconfig.platform(config)])
        settings, notes = ociconfig.parse(config, len(manifest.layers))
        return Image(
            reference=what,
            title=f"{what} ({ociplatform.name(self._machine)})",
            layers=tuple(self._layer(layer) for layer in manifest.layers),
            config=settings,
            serial=serial,
            arch=ociplatform.name(self._machine),
            notes=notes,
            documents=tuple(documents),
        )

    def open(self, layer: Layer) -> Stream:
        """The layer's bytes, which begin to arrive now."""
        if layer.blob is None:
            raise ValueError(layer)
        return self._fetcher.open(layer.blob, keep=self._keep)

    def _manifest(self, data: bytes, media_type: str, documents: list[bytes], cancelled: Asked) -> Manifest:
        """The one for this machine, through as many indexes as it takes; documents: those are added."""
        what = str(self._reference)
        for _ in range(ocimanifest.DEEPEST):
            document = ocimanifest.parse(data, media_type)
            if isinstance(document, Manifest):
                return document
            if cancelled():
                raise Cancelled
            chosen = ocimanifest.choose(document, self._machine, what)
            data, media_type = self._ask(chosen.digest)
            documents.append(data)
            if len(data) != chosen.size:
                raise Damaged(
                    f"{what} cannot be used", f"its manifest has {len(data)} bytes, not {chosen.size}"
                )
        raise Damaged(f"{what} cannot be used", "its indexes lead to further indexes, without an end")

    def _ask(self, wanted: str) -> tuple[bytes, str]:
        """A manifest or an index by its tag or digest, and its media type when that was told."""
        stored = self._stored(wanted) if ":" in wanted else None
        if stored is not None:
            return stored, ""
        url = f"{ociref.base(self._reference)}/{self._reference.repository}/manifests/{wanted}"
        answer = self._client.get(url, {"Accept": ocimanifest.ACCEPT}, limit=ocimanifest.LARGEST_DOCUMENT)
        self._check(answer, wanted)
        what = f"the manifest of {self._reference}"
        # With a tag, nobody but the registry can say which digest is meant; a proxy between us that changed
        # the manifest has mostly not changed this.
        said = wanted if ":" in wanted else answer.headers.get("docker-content-digest", "")
        if said.startswith("sha256:"):
            ocimanifest.check(answer.body, said, what)
        return answer.body, answer.headers.get("content-type", "")

    def _stored(self, digest: str) -> bytes | None:
        """A document from the store, unless it is damaged, which is removed, or too large to be one."""
        if self._store is None:
            return None
        try:
            with self._store.open(digest, heal=True) as stream:
                size = stream.size
                return None if size is None or size > ocimanifest.LARGEST_DOCUMENT else _all_of(stream)
        except (NotFound, Damaged):
            return None

    def _config(self, config: Descriptor) -> bytes:
        if config.size > ocimanifest.LARGEST_DOCUMENT:
            raise Damaged("the image's configuration cannot be read", f"it has {config.size} bytes")
        stored = self._stored(config.digest)
        if stored is not None and len(stored) == config.size:
            return stored
        with self._fetcher.open(self._blob(config)) as stream:
            return _all_of(stream)

    def _layer(self, layer: Descriptor) -> Layer:
        return Layer(
            kind=LAYER,
            blob=self._blob(layer),
            name=layer.digest,
            size=layer.size,
            compression=ocimanifest.compression(layer.media_type),
        )

    def _blob(self, part: Descriptor) -> Blob:
        url = f"{ociref.base(self._reference)}/{self._reference.repository}/blobs/{part.digest}"
        return Blob(digest=part.digest, size=part.size, urls=(url,))

    def _check(self, answer: Answer, wanted: str) -> None:
        if answer.status == 200:
            return
        ref = self._reference
        if answer.status == 404:
            raise NotFound(
                f"{ref.host}/{ref.repository} has no {wanted}",
                _said(answer.body),
                "Look at the registry's page for the tags that it has.",
            )
        raise failure(answer, ref.host, ref.repository, self._credential, self._authority)


def _all_of(stream: Stream) -> bytes:
    data = bytearray()
    while chunk := stream.read(1 << 16):
        data += chunk
    return bytes(data)


def check_login(
    credential: Credential, fetching: Fetching, cancelled: Asked, environ: Mapping[str, str] = os.environ
) -> bool:
    """Ask the registry whether it knows us.  False: it lets everybody in, and looked at no password.

    Raises NspawnError when it does not, or when the password may not be sent where it wants it.
    """
    plain = Client(fetching, cancelled=cancelled, environ=environ)
    authority = registryauth.Authority(plain, credential.host, "", credential)
    client = Client(fetching, authorize=authority, cancelled=cancelled, environ=environ)
    answer = client.get(f"{ociref.api(credential.host)}/v2/", limit=1 << 20)
    if authority.kept_back:
        raise registryauth.refusal(credential.host, "", credential, authority.kept_back)
    if answer.status == 404:
        raise NotFound(f"{credential.host} is not a registry", "it does not answer as one")
    if answer.status != 200:
        raise failure(answer, credential.host, "", credential, authority)
    return authority.used


def failure(
    answer: Answer,
    host: str,
    repository: str,
    credential: Credential | None,
    authority: registryauth.Authority,
) -> NspawnError:
    """The error for an answer that is neither good nor 404."""
    if answer.status in (401, 403):
        return registryauth.refusal(host, repository, credential, authority.kept_back)
    if answer.status == 429:
        return registryauth.busy(host, known=credential is not None)
    kind = Unreachable if answer.status >= 500 else NspawnError
    return kind(f"{host} does not answer as it should", f"{answer.status} {_said(answer.body)}".strip())


def _said(body: bytes) -> str:
    """The registry's own words for what is wrong, as a line; "" when there are none."""
    try:
        first = json.loads(body[:65536])["errors"][0]
        text = str(first.get("message") or first.get("code") or "")
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        return ""
    return "".join(c for c in text[:200] if c.isprintable())
