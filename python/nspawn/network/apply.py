"""The operations, done: by netlink in batches, and in /proc/sys, whose values before are remembered."""

from __future__ import annotations

import _socket
import os

from nspawn.errors import Damaged
from nspawn.kernel.process import boot_id
from nspawn.kernel.rtbatch import Batch
from nspawn.model.netplan import Proxy, Sysctl, WantedAddress, WantedLink, WantedRoute
from nspawn.model.netview import PROTOCOL, Rule
from nspawn.model.record import Record
from nspawn.model.slot import slot_of
from nspawn.network.observe import sysctls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from nspawn.kernel.rtnl import Rtnl
    from nspawn.network.operation import Operation

#: What else changes when forwarding does (Documentation/networking/ip-sysctl: "this variable is special").
SWEPT = {
    "net/ipv4/ip_forward": ("net/ipv4/conf", ("all/accept_redirects",)),
    "net/ipv6/conf/all/forwarding": ("net/ipv6/conf", ()),
}


class Before:
    """What the settings of this boot were before us: a file, so that who comes after a kill can restore them.

    values: by path, in the order in which they were changed.  forwards: whether Android's netd was asked to.
    tables: of iptables, that there were, by family.
    """

    __slots__ = ("_path", "_swept", "forwards", "tables", "values")

    def __init__(self, path: str) -> None:
        self._path = path
        self.values: dict[str, str] = {}
        self._swept: dict[str, str] = {}
        self.forwards = False
        self.tables: dict[int, frozenset[str]] = {}
        try:
            with open(path, "rb") as file:
                record = Record.decode(file.read(1 << 20))
            if record.text("boot-id") != boot_id() or not record.flag("end"):
                return
        except (OSError, Damaged):
            return
        self.forwards = record.flag("forwards")
        for family in (4, 6):
            if record.get(f"tables{family}") is not None:
                self.tables[family] = frozenset(record.text(f"tables{family}").split())
        for key, values in (("set", self.values), ("swept", self._swept)):
            for field in record.all(key):
                name, _, value = field.decode("utf-8", "replace").partition("=")
                values[name] = value

    def remember(self, setting: str, bridge: str) -> None:
        """Before a setting changes.  What belongs to an interface of ours goes with it."""
        if setting in self.values or _is_ours(setting, bridge):
            return
        self.values |= sysctls((setting,))
        if setting in SWEPT:
            folder, others = SWEPT[setting]
            paths = [f"{folder}/{name}/forwarding" for name in sorted(os.listdir(f"/proc/sys/{folder}"))]
            paths = [path for path in paths if not _is_ours(path, bridge)]
            self._swept |= sysctls([*(f"{folder}/{name}" for name in others), *paths])
        self.save()

    def save(self) -> None:
        """Not synced: it is void after the next boot."""
        record = Record((("boot-id", boot_id()), ("forwards", int(self.forwards))))
        for key, values in (("set", self.values), ("swept", self._swept)):
            for name, value in values.items():
                record.add(key, f"{name}={value}")
        for family, names in self.tables.items():
            record.add(f"tables{family}", " ".join(sorted(names)))
        record.add("end", 1)
        os.makedirs(os.path.dirname(self._path), 0o700, exist_ok=True)
        fresh = f"{self._path}.new"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(fresh, flags, 0o600), "wb") as file:
            file.write(record.encode())
        os.rename(fresh, self._path)

    def forget(self) -> None:
        """All is as it was: also what changed along with the settings."""
        for path, value in self._swept.items():
            if sysctls((path,)) not in ((), ((path, value),)):
                write(path, value)
        self.values.clear()
        self._swept.clear()
        try:
            os.unlink(self._path)
        except FileNotFoundError:
            pass


def _is_ours(setting: str, bridge: str) -> bool:
    name = setting.split("/")[-2]
    return name == bridge or slot_of(name) >= 0


def write(setting: str, value: str) -> None:
    """A file below /proc/sys."""
    descriptor = os.open(f"/proc/sys/{setting}", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, value.encode())
    finally:
        os.close(descriptor)


def apply(netlink: Rtnl, operations: Iterable[Operation], before: Before, bridge: str) -> None:
    """Do them in their order; OSError of the first that is refused names it.

    bridge: the name of ours.
    """
    batch = Batch()
    for operation in operations:
        what = operation.what
        if isinstance(what, Sysctl):
            netlink.send(batch)
            batch = Batch()
            _set(what, before, bridge, operation.describe())
            continue
        _add(batch, operation)
        if isinstance(what, WantedLink) and operation.verb == "add":
            netlink.send(batch)  # the next ones need its number
            batch = Batch()
    netlink.send(batch)


def _set(what: Sysctl, before: Before, bridge: str, text: str) -> None:
    before.remember(what.path, bridge)
    try:
        write(what.path, what.value)
    except OSError as error:
        raise OSError(error.errno, error.strerror, text) from None


def _add(batch: Batch, operation: Operation) -> None:
    what, text, delete = operation.what, operation.describe(), operation.verb == "delete"
    if isinstance(what, Rule):
        batch.rule(what, text, delete=delete)
        return
    if isinstance(what, WantedLink) and operation.verb == "add":
        batch.bridge(what.name, what.mac, text)
        return
    assert not isinstance(what, Sysctl)
    name = what.name if isinstance(what, WantedLink) else what.link
    ifindex = _index(name)
    if not ifindex and delete:
        return  # it went, and what it had with it
    if not ifindex:
        raise OSError(19, "No such device", text)  # ENODEV
    if isinstance(what, WantedLink):
        if delete:
            batch.remove_link(ifindex, text)
        else:
            batch.link(ifindex, text, master=_index(what.master) if what.master else 0)
    elif isinstance(what, WantedAddress):
        batch.address(what, ifindex, text, delete=delete)
    elif isinstance(what, WantedRoute):
        batch.route(what, ifindex, PROTOCOL, text, delete=delete)
    elif isinstance(what, Proxy):
        batch.proxy(what.address, ifindex, text, delete=delete)


def _index(name: str) -> int:
    """The number of an interface; 0 when there is none of this name."""
    try:
        return _socket.if_nametoindex(name)
    except OSError:
        return 0
