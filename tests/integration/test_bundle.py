"""The phone's Python runs where nothing but the module is; that of another machine in an emulator."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import faultserver
from tests.support.zips import PLACE, TARGETS, build_zip, unpack
from tools.bundle import MODULE, Target, own_target
from tools.emulator import emulator

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("clean_module")]

PYTHON = f"{MODULE}/python/bin/python3.13"
SITE = f"{MODULE}/python/lib/python3.13/site-packages"
#: Not Android's names: this root has no init whose mounts a command could join.
ENVIRONMENT = {"NSPAWN_ROOT": "/data/adb/nspawn", "PATH": os.environ["PATH"]}
#: Loaded by others only when these programs' own libraries are there.
OPTIONAL = {"urllib3.contrib.pyopenssl", "urllib3.contrib.socks", "urllib3.http2.connection"}


class Phone:
    """A root that holds the module, /proc, /dev and nothing else. before: what starts its programs."""

    def __init__(self, root: Path, before: list[str]) -> None:
        self.root = root
        self._before = before

    def words(self, *arguments: str) -> list[str]:
        """A shell that mounts what a phone has, in a mount namespace that ends with it."""
        script = 'mount --rbind /dev "$0/dev" && mount -t proc proc "$0/proc" && exec chroot "$0" "$@"'
        start = ["unshare", "-m", "sh", "-c", script, str(self.root), *self._before]
        return [*start, PYTHON, "-I", "-S", "-B", *arguments]

    def python(self, *arguments: str, **environment: str) -> str:
        done = subprocess.run(
            self.words(*arguments),
            env={**ENVIRONMENT, **environment},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def install(target: Target, root: Path) -> Phone:
    unpack(build_zip(target), root / PLACE)
    for folder in ("dev", "proc", "tmp"):
        (root / folder).mkdir()
    if target.machine == platform.machine():
        return Phone(root, [])
    shutil.copy(emulator(target.machine), root / "emulator")
    return Phone(root, ["/emulator"])


@pytest.fixture(scope="module", params=TARGETS)
def phone(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Phone:
    return install(TARGETS[request.param], tmp_path_factory.mktemp("phone"))


def test_it_starts_and_finds_itself(phone: Phone) -> None:
    shown = phone.python("-c", "import sys; print(sys.prefix, *sys.version_info[:2], sys.path)")
    library = f"{MODULE}/python/lib"
    paths = [f"{library}/python313.zip", f"{library}/python3.13", f"{library}/python3.13/lib-dynload"]
    assert shown == f"{MODULE}/python 3 13 {paths}\n"


def test_what_the_program_needs_is_there(phone: Phone) -> None:
    names = "ssl lzma ctypes zlib bz2 hashlib flask waitress requests tomli_w tomllib zoneinfo"
    code = (
        f"import sys; sys.path.append({SITE!r})\nfor name in {names.split()}: __import__(name)\nprint('good')"
    )
    assert phone.python("-c", code) == "good\n"


def test_the_classes_of_netlink_messages_are_there(phone: Phone) -> None:
    """Of pyroute2 the zip has nothing else."""
    code = (
        f"import sys; sys.path.append({MODULE + '/python'!r})\nfrom nspawn.kernel.rtnl import classes\n"
        "for name in ('fibmsg', 'rtmsg', 'ifinfmsg', 'ifaddrmsg', 'ndmsg'):"
        " print(getattr(classes(name), name).__name__)"
    )
    assert phone.python("-c", code).split() == ["fibmsg", "rtmsg", "ifinfmsg", "ifaddrmsg", "ndmsg"]


WALK = """
import importlib, os, sys
sys.path += [{site!r}, {ours!r}]
for root, top in (({site!r}, ""), ({ours!r}, "nspawn")):
    for folder, _, names in os.walk(os.path.join(root, top)):
        for name in names:
            module = os.path.relpath(os.path.join(folder, name), root).replace("/", ".")
            module = module.removesuffix(".pyc").removesuffix(".__init__")
            if name.endswith(".pyc") and not name.startswith("__main__") and "pyroute2" not in module:
                try:
                    importlib.import_module(module)
                except ImportError as error:
                    print(module)
"""


def test_nothing_was_trimmed_that_a_module_imports(phone: Phone) -> None:
    """Every module of every wheel, and of ours; pyroute2 is there in part only (kernel/rtnl.py)."""
    code = WALK.format(site=SITE, ours=f"{MODULE}/python")
    assert set(phone.python("-W", "ignore", "-c", code).split()) == OPTIONAL


def test_zones_and_authorities(phone: Phone) -> None:
    """What service.sh names in the environment is in the zip."""
    code = f"""
import sys, time, ssl
sys.path.append({SITE!r})
import certifi
print(time.strftime("%Z", time.localtime(1_700_000_000)))
print(len(ssl.create_default_context().get_ca_certs()) > 100)
"""
    environment = {
        "TZ": "Europe/Berlin",
        "TZDIR": f"{MODULE}/share/zoneinfo",
        "SSL_CERT_FILE": f"{SITE}/certifi/cacert.pem",
    }
    assert phone.python("-c", code, **environment) == "CET\nTrue\n"


FETCH = """
import os
import sys
sys.path.append({ours!r})
from nspawn.images.blobs import Blobs
from nspawn.images.fetch import Fetcher
from nspawn.images.http import Client
from nspawn.model.blob import Blob
from nspawn.model.fetching import Fetching
fetching = Fetching(retries=1)
blob = Blob(digest={digest!r}, urls=({url!r},))
try:
    Client(fetching).get({url!r})
except Exception as error:
    print(error)
os.environ["SSL_CERT_FILE"] = "/tmp/own.pem"
with Fetcher(Client(fetching), fetching).open(blob, keep=Blobs("/tmp/images")) as stream:
    while stream.read(65536):
        pass
print(stream.done)
"""


def test_it_fetches_by_tls_and_trusts_nobody_but_whom_it_is_told(phone: Phone, tmp_path: Path) -> None:
    data = os.urandom(1_000_000)
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    with faultserver.serving(tmp_path) as server:
        server.files["/blob"] = data
        server.faults["/blob"] = faultserver.Fault(cut=300_000)
        shutil.copy(server.certificate, phone.root / "tmp/own.pem")
        code = FETCH.format(ours=f"{MODULE}/python", digest=digest, url=f"{server.url}/blob")
        without, with_ = phone.python("-c", code).splitlines()
    assert "the certificate is not trusted" in without
    assert with_ == "1000000"
    assert (phone.root / f"tmp/images/blobs/sha256/{digest[7:]}").read_bytes() == data


def test_the_command_starts(phone: Phone) -> None:
    assert phone.python(f"{MODULE}/python/entry/nspawn.py", "--version").startswith("nspawn ")


@pytest.fixture
def served(tmp_path: Path) -> Iterator[int]:
    """The port of a service, of this machine's zip: an emulator makes no namespaces."""
    phone = install(own_target(), tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    words = phone.words(f"{MODULE}/python/entry/nspawn.py", "serve", "--port", str(port))
    service = subprocess.Popen(words, env=ENVIRONMENT)
    yield port
    service.terminate()
    assert service.wait(30) == 0


def test_the_page_answers(served: int) -> None:
    deadline = time.monotonic() + 20
    words = ["curl", "-sS", "-m", "10", f"http://localhost:{served}/health"]
    while True:
        done = subprocess.run(words, capture_output=True, text=True)
        if done.returncode == 0 or time.monotonic() > deadline:
            break
        time.sleep(0.05)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"status": "ok", "name": "nspawn"}
