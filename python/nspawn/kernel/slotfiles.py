"""The files of the network's slots: `<root>/network/prefix`, and `<root>/network/slots/<number>` for each.

Small, since a start reads and writes them.  By descriptors of the folders, never through a link; each file is
a record that is replaced whole.  What is damaged is skipped and told, and its number is given away last.
"""

from __future__ import annotations

import _socket
import fcntl
import os

from nspawn.errors import Busy, Conflict, Damaged
from nspawn.kernel.process import start_time
from nspawn.model.record import Record
from nspawn.model.slot import Slot, Subnet, veth

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

    from nspawn.layout import Layout

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_LIMIT = 1 << 18
_VERSION = 1
_PREFIX = "prefix"
_HINT = "Remove the file; the container gets another address at its next start."


def run_owner(pid: int) -> str:
    """The owner of a slot that lasts as long as this process."""
    return f"run:{pid}:{start_time(pid)}"


def name_owner(name: str) -> str:
    """The owner of a slot that lasts as long as this container."""
    return f"name:{name}"


def is_gone(owner: str) -> bool:
    """Whether it was a foreground run that is over."""
    kind, _, rest = owner.partition(":")
    pid, _, start = rest.partition(":")
    if kind != "run":
        return False
    return not (pid.isdecimal() and start.isdecimal() and 0 < int(start) == start_time(int(pid)))


class SlotFiles:
    """They are locked for all other processes as long as a `with` block of this lasts.

    damaged: what could not be read so far, by number (-1 is the prefix).
    wait: for another process that has them; else that is a BlockingIOError.
    Raises OSError when the folders cannot be made.
    """

    __slots__ = ("_folder", "_slots", "_wait", "damaged", "layout")

    def __init__(self, layout: Layout, *, wait: bool = True) -> None:
        self.layout = layout
        self._wait = wait
        self.damaged: dict[int, Damaged] = {}
        self._folder = self._slots = -1

    def __enter__(self) -> Self:
        try:
            self._open()
        except FileNotFoundError:
            os.makedirs(self.layout.root, 0o700, exist_ok=True)
            for path in (self.layout.network, f"{self.layout.network}/slots"):
                try:
                    os.mkdir(path, 0o700)
                except FileExistsError:
                    pass
            self._open()
        try:
            # The folder itself: a full disk has no room for a file.
            fcntl.flock(self._slots, fcntl.LOCK_EX | (0 if self._wait else fcntl.LOCK_NB))
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self) -> None:
        self._folder = os.open(self.layout.network, _FOLDER)
        try:
            self._slots = os.open("slots", _FOLDER, dir_fd=self._folder)
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        for descriptor in (self._slots, self._folder):
            if descriptor >= 0:
                os.close(descriptor)
        self._folder = self._slots = -1

    # What is there

    def numbers(self) -> list[int]:
        """Of all slots, in order, also of damaged ones."""
        return sorted(
            int(name) for name in os.listdir(self._slots) if name.isdecimal() and name == str(int(name))
        )

    def all(self) -> list[Slot]:
        """Every slot that is whole, in order."""
        found = [self.get(number) for number in self.numbers()]
        return [slot for slot in found if slot is not None]

    def get(self, number: int) -> Slot | None:
        """The slot of this number; None when nobody has it, or it is damaged."""
        try:
            record = _read(str(number), self._slots)
            if record is None:
                return None
            slot = Slot.from_record(record)
            if slot.number != number or slot.owner.partition(":")[0] not in ("name", "run"):
                raise Damaged("it is that of another")
        except Damaged as error:
            path = f"{self.layout.network}/slots/{number}"
            self.damaged[number] = Damaged(f"{path} is damaged", error.why or error.what, _HINT)
            return None
        return slot

    def of(self, owner: str, hint: int = -1) -> Slot | None:
        """The slot of an owner.  hint: where it probably is; without it all are read."""
        first = self.get(hint) if hint >= 0 else None
        if first is not None and first.owner == owner:
            return first
        word = b"\0owner=%s\0" % os.fsencode(owner)
        for number in self.numbers():
            try:
                data = _content(str(number), self._slots)
            except (OSError, Damaged):
                continue
            slot = self.get(number) if word in data else None
            if slot is not None and slot.owner == owner:
                return slot
        return None

    def subnet(self) -> Subnet | None:
        """The one that was chosen; None when none was, or it is damaged."""
        try:
            record = _read(_PREFIX, self._folder)
            return None if record is None else Subnet.of(record)
        except Damaged as error:
            path = f"{self.layout.network}/{_PREFIX}"
            self.damaged[-1] = Damaged(f"{path} is damaged", error.why or error.what, "It is chosen anew.")
            return None

    # Changes

    def take(self, wish: Slot, subnet: Subnet, *, hint: int = -1) -> Slot:
        """Give the wish's owner a slot with these settings, and return it with its number.

        wish: its number is the one that must be, or -1 for the one that this owner has, else a free one.
        hint: as for of().  Conflict when another has it; Busy when there is none left.
        """
        number = wish.number
        if number >= subnet.room:
            raise Conflict(f"the network has room for {subnet.room} containers only")
        # A run is new: what its owner has already is of another one.
        old = self.of(wish.owner, hint) if wish.owner.startswith("name:") else None
        if number < 0:
            number = old.number if old is not None and old.number < subnet.room else self._free(subnet)
        elif old is None or old.number != number:
            other = self.get(number)
            if other is not None and not is_gone(other.owner):
                raise _taken(other, subnet)
        slot = _numbered(wish, number)
        if old != slot:
            self.write(slot)
        if old is not None and old.number != number:
            self._unlink(old.number)
        return slot

    def _free(self, subnet: Subnet) -> int:
        """The lowest that nobody has, and whose veth is not there: that of a run which was killed stays on
        for some milliseconds.
        """
        room, taken = subnet.room, set(self.numbers())
        number = next((each for each in range(room) if each not in taken and not _is_link(each)), -1)
        if number < 0:
            self.reclaim()
            taken = set(self.numbers())
            number = next((each for each in range(room) if each not in taken), -1)
        if number < 0:
            number = next((each for each in sorted(self.damaged) if 0 <= each < room), -1)
        if number < 0:
            raise Busy(
                "there is no free address for another container",
                f"all {room} of {_text(subnet.base4.to_bytes(4, 'big'))}/{subnet.length4} are given away",
                "Remove a container that has one, or choose a larger network.subnet in config.toml.",
            )
        return number

    def reclaim(self) -> list[Slot]:
        """Take away the slots of foreground runs that are over; those that are left."""
        left = []
        for slot in self.all():
            if is_gone(slot.owner):
                self._unlink(slot.number)
            else:
                left.append(slot)
        return left

    def write(self, slot: Slot) -> None:
        """Replace the slot's file, whoever had it.  A container's is synced: its address is to last."""
        lasts = slot.owner.startswith("name:")
        _write(str(slot.number), slot.to_record(), self._slots, sync=lasts)

    def release(self, owner: str, hint: int = -1) -> int:
        """Take the owner's slot away; its number, -1 when it had none."""
        slot = self.of(owner, hint)
        if slot is None:
            return -1
        self._unlink(slot.number)
        return slot.number

    def rename(self, old: str, new: str) -> None:
        """The container `old` is now called `new`, and keeps its slot."""
        slot = self.of(name_owner(old))
        if slot is not None:
            self.release(name_owner(new))  # of one that is gone
            slot.owner = name_owner(new)
            slot.host = new if slot.host == old else slot.host
            self.write(slot)

    def remember(self, subnet: Subnet, wish: str = "") -> None:
        """It is this one from now on.  wish: what the choice followed from."""
        _write(_PREFIX, Record((*subnet.fields(), ("wish", wish))), self._folder, sync=True)

    def _unlink(self, number: int) -> None:
        try:
            os.unlink(str(number), dir_fd=self._slots)
        except FileNotFoundError:
            pass


def peek(layout: Layout) -> tuple[Subnet | None, list[Slot], list[Damaged]]:
    """What is there, without the lock: each file is whole by itself.  Nothing is made."""
    files = SlotFiles(layout)
    try:
        files._open()
    except FileNotFoundError:
        return None, [], []
    try:
        subnet, slots = files.subnet(), files.all()
    finally:
        files.close()
    return subnet, slots, list(files.damaged.values())


def _numbered(wish: Slot, number: int) -> Slot:
    return Slot(
        number,
        wish.owner,
        host=wish.host,
        pins=wish.pins,
        on_down=wish.on_down,
        forwards=wish.forwards,
        dns=wish.dns,
        ipv6=wish.ipv6,
    )


def wish(layout: Layout) -> str:
    """What the choice of the subnet followed from; "" when none was chosen."""
    files = SlotFiles(layout)
    try:
        files._open()
    except FileNotFoundError:
        return ""
    try:
        record = _read(_PREFIX, files._folder)
    except Damaged:
        return ""
    finally:
        files.close()
    return "" if record is None else record.text("wish")


def _taken(other: Slot, subnet: Subnet) -> Conflict:
    address = _text(subnet.address4(other.number))
    kind, _, who = other.owner.partition(":")
    why = f"the container {who} has it" if kind == "name" else f"a run has it (process {who.split(':')[0]})"
    return Conflict(f"the address {address} is taken", why, "Choose another, or none for a free one.")


def _text(address: bytes) -> str:
    return ".".join(str(byte) for byte in address)


def _is_link(number: int) -> bool:
    try:
        _socket.if_nametoindex(veth(number))
    except OSError:
        return False
    return True


def _content(name: str, at: int) -> bytes:
    descriptor = os.open(name, _READ, dir_fd=at)
    try:
        return os.read(descriptor, _LIMIT)
    except IsADirectoryError:
        raise Damaged("it is no file") from None
    finally:
        os.close(descriptor)


def _read(name: str, at: int) -> Record | None:
    """The record; None when there is none, Damaged with the reason alone."""
    try:
        data = _content(name, at)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Damaged(error.strerror or "it cannot be read") from None
    record = Record.decode(data)
    if record.integer("version") > _VERSION:
        raise Damaged("it is from a newer nspawn")
    if not record.fields or record.fields[-1] != ("end", b"1"):
        raise Damaged("it is cut off")
    return record


def _write(name: str, record: Record, at: int, *, sync: bool) -> None:
    full = Record((("version", _VERSION), *record.fields, ("end", 1)))
    fresh = f".{name}.new"  # under the lock, nobody else writes it
    try:
        os.unlink(fresh, dir_fd=at)
    except FileNotFoundError:
        pass
    descriptor = os.open(fresh, _NEW, 0o600, dir_fd=at)
    try:
        data = full.encode()
        while data:
            data = data[os.write(descriptor, data) :]
        if sync:
            os.fsync(descriptor)
        os.rename(fresh, name, src_dir_fd=at, dst_dir_fd=at)
    except BaseException:
        os.unlink(fresh, dir_fd=at)
        raise
    finally:
        os.close(descriptor)
    if sync:
        os.fsync(at)
