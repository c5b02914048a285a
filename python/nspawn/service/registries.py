"""Logins at registries: stored in registries.toml, which only root reads."""

from __future__ import annotations

import os
import tomllib
from typing import TYPE_CHECKING

from nspawn.errors import Damaged, NotFound
from nspawn.images import credentials
from nspawn.model import ociref
from nspawn.service import config, files
from nspawn.sites import add_site_packages

if TYPE_CHECKING:
    from nspawn.images.credentials import Credential
    from nspawn.layout import Layout
    from nspawn.model.progress import Asked

_FILE = "registries.toml"


def load(layout: Layout) -> dict[str, Credential]:
    """All logins by host.  Raises Damaged when the file cannot be read: nobody is asked as somebody else."""
    path = f"{layout.root}/{_FILE}"
    try:
        document = tomllib.loads(files.read(path).decode())
        return credentials.from_document(document, path)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise files.system_error(f"{path} cannot be read", error) from None
    except (ValueError, RecursionError) as error:
        raise Damaged(f"{path} cannot be read", str(error), "Correct it or remove it.") from None


def find(layout: Layout, host: str) -> Credential | None:
    """Who we are to this registry; None for nobody."""
    return load(layout).get(ociref.parse_host(host))


def login(
    layout: Layout,
    host: str,
    user: str,
    password: str,
    realms: tuple[str, ...] = (),
    cancelled: Asked = lambda: False,
) -> bool:
    """Ask the registry whether the password is right, and store it.

    realms: further HOST[:PORT] that may have it, where the registry sends us for tokens.  False: the
    registry let us in without looking at it.  Raises NspawnError when it is wrong; nothing is stored then.
    """
    from nspawn.images import registry

    credential = credentials.make(host, user, password, realms)
    stored = load(layout)
    looked = registry.check_login(credential, config.fetching(layout), cancelled)
    _save(layout, stored | {credential.host: credential})
    return looked


def logout(layout: Layout, host: str) -> str:
    """Forget the login; the registry's name as it was stored.  NotFound when there is none."""
    stored = load(layout)
    name = ociref.parse_host(host)
    if name not in stored:
        there = ", ".join(sorted(stored))
        raise NotFound(f"there is no login at {name}", f"there are: {there}" if there else "there are none")
    del stored[name]
    _save(layout, stored)
    return name


def _save(layout: Layout, stored: dict[str, Credential]) -> None:
    add_site_packages()
    import tomli_w

    data = tomli_w.dumps(credentials.to_document(stored)).encode()
    try:
        os.makedirs(layout.root, 0o700, exist_ok=True)
        with files.folder(layout.root) as at:
            files.write(_FILE, data, at)
    except OSError as error:
        raise files.system_error("the login cannot be stored", error) from None
