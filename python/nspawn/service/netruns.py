"""The agent's two runs: the network up, as the containers need it now, and down, as it was before."""

from __future__ import annotations

import errno
from typing import NamedTuple

from nspawn.errors import NspawnError, Unsupported
from nspawn.kernel import slotfiles
from nspawn.kernel.rtnl import Rtnl
from nspawn.model.netconfig import NetConfig
from nspawn.model.netplan import Sysctl, WantedRoute, is_ours
from nspawn.model.netview import PROTOCOL, Rule
from nspawn.model.record import Record, error_record
from nspawn.model.slot import slot_of
from nspawn.network import apply, diff, forwarding, observe
from nspawn.network.walls import Walls
from nspawn.service import netstate
from nspawn.service.netlook import look, read_config, wish

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from nspawn.layout import Layout
    from nspawn.model.netplan import Note
    from nspawn.model.netview import View
    from nspawn.network.operation import Operation
    from nspawn.service.netlook import Look

    Log = Callable[[str], None]

_ROUNDS = 5
#: What an interface that comes or goes meanwhile makes of a change: then all is looked at again.
_PASSING = (errno.ENODEV, errno.ENXIO, errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTUNREACH, errno.EINVAL)
_LOGGED = 60  # lines of one run
_WHAT = "the network was not set up"


class Up:
    """refill: the firewall may be flushed, and netd started anew.  by_hand: somebody said that it stays.

    page: its port; None is the one set.
    """

    def __init__(
        self,
        layout: Layout,
        environ: Mapping[str, str],
        log: Log,
        *,
        refill: bool = False,
        by_hand: bool = False,
        page: int | None = None,
    ) -> None:
        self._layout = layout
        self._environ = environ
        self._log = log
        self._refill = refill
        self._by_hand = by_hand
        self._page = page
        self._before = before(layout)

    def lines(self) -> list[str]:
        """What it would do, to be pasted; nothing is done."""
        with Rtnl() as netlink:
            found = self._look(netlink)
            within = self._inside(netlink, found, change=False)
        words = forwarding.words(self._environ, enable=True) if self._must_ask(found) else []
        first, then, last = _in_turn(found)
        lines = [operation.describe() for operation in first]
        lines += found.walls.script(found.plan.firewall)
        lines += [operation.describe() for operation in then]
        lines += [" ".join(words)] if words else []
        return [*lines, *(operation.describe() for operation in last), *within]

    def run(self) -> Record:
        """The outcome.  When nothing was there and it fails, nothing is left; an NspawnError tells why."""
        last = netstate.read(self._layout).record or Record()
        try:
            with Rtnl() as netlink:
                outcome = self._rounds(netlink)
        except NspawnError as error:
            record = error_record(error)
            # The name of the bridge is needed by who takes it down.
            record.fields += [field for field in last.fields if field[0] in ("mode", "bridge", "by-hand")]
            netstate.write(self._layout, record)
            raise
        if self._by_hand or last.flag("by-hand"):
            outcome.add("by-hand", 1)
        netstate.write(self._layout, outcome)
        return outcome

    def _rounds(self, netlink: Rtnl) -> Record:
        clean, left = None, _ROUNDS
        while True:
            left -= 1
            found = self._look(netlink)
            clean = is_clean(found.view) if clean is None else clean
            try:
                return self._apply(netlink, found)
            except OSError as error:
                if left and error.errno in _PASSING:
                    self._log(f"again, since something changed meanwhile: {error}")
                    continue
                failure = _failure(error)
            except NspawnError as error:
                failure = error
            if clean:
                self._log(f"undone: {failure}")
                Down(self._layout, self._environ, self._log, force=True).take_down(netlink)
            raise failure

    def _look(self, netlink: Rtnl) -> Look:
        return look(self._layout, self._environ, netlink=netlink, refill=self._refill, page=self._page)

    def _apply(self, netlink: Rtnl, found: Look) -> Record:
        if found.fresh:
            with slotfiles.SlotFiles(self._layout) as files:
                files.remember(found.subnet, wish(found.config))
        if found.walls.tables.keys() - self._before.tables.keys():
            self._before.tables = {**found.walls.tables, **self._before.tables}
            self._before.save()
        first, then, last = _in_turn(found)
        done = self._operate(netlink, found, first)
        ruled = bool(first) or any(isinstance(each.what, Rule) for each in then)
        if all(isinstance(each.what, (Rule, WantedRoute)) for each in then):
            # Another way out is a matter of milliseconds; the firewall's processes take longer.
            done += self._operate(netlink, found, then)
            done += self._look_again(netlink, found) if ruled else []
            done += found.walls.apply(found.plan.firewall)
        else:
            # The firewall first: what is let in by an operation must find its rules.
            done += found.walls.apply(found.plan.firewall)
            done += self._operate(netlink, found, then)
        done += self._look_again(netlink, found) if ruled else []
        if self._must_ask(found):
            last = self._ask(last)
        done += self._operate(netlink, found, last)
        done += self._inside(netlink, found)
        log_lines(self._log, done)
        if any(slotfiles.is_gone(slot.owner) for slot in found.slots):
            with slotfiles.SlotFiles(self._layout) as files:
                files.reclaim()
        return _outcome(found)

    def _operate(self, netlink: Rtnl, found: Look, operations: list[Operation]) -> list[str]:
        apply.apply(netlink, operations, self._before, found.config.bridge)
        return [operation.describe() for operation in operations]

    def _look_again(self, netlink: Rtnl, found: Look) -> list[str]:
        """Put back what has gone since we looked: netd, at its start, takes away all rules that it finds.

        Those that we have just added it has not seen, and they would let out whom a rule held that it took.
        """
        done: list[str] = []
        for _ in range(_ROUNDS):
            again = diff.lost(netlink.rules(), found.plan)
            if not again:
                break
            apply.apply(netlink, again, self._before, found.config.bridge)
            done += [f"again: {operation.describe()}" for operation in again]
        return done

    def _inside(self, netlink: Rtnl, found: Look, *, change: bool = True) -> list[str]:
        if not any(slot.ipv6 == "proxy" for slot in found.active):
            return []
        from nspawn.network import inside

        return inside.settle(netlink, found.view, found.active, found.plan, change=change)

    def _must_ask(self, found: Look) -> bool:
        """Whether netd is to be asked to forward: it was not yet, or has forgotten it."""
        if not found.features.android:
            return False
        return self._refill or not self._before.forwards or any(map(diff.forwards, found.operations))

    def _ask(self, operations: list[Operation]) -> list[Operation]:
        """Ask netd; what is left to be done."""
        words = forwarding.words(self._environ, enable=True)
        if not words:
            return operations
        trouble = forwarding.run(words)
        self._log(" ".join(words) + (f": {trouble}" if trouble else ""))
        if trouble:
            return operations
        self._before.forwards = True
        self._before.save()
        return [each for each in operations if not _is_done(each)]


def _in_turn(found: Look) -> tuple[list[Operation], list[Operation], list[Operation]]:
    """The rules that hold single containers; the others; and forwarding, which comes last."""
    first: list[Operation] = []
    then: list[Operation] = []
    last: list[Operation] = []
    for each in found.operations:
        turn = first if diff.holds(each, found.plan) else last if diff.forwards(each) else then
        turn.append(each)
    return first, then, last


def _is_done(operation: Operation) -> bool:
    what = operation.what
    return isinstance(what, Sysctl) and observe.sysctls((what.path,)) == ((what.path, what.value),)


class Down:
    """force: also while containers use it."""

    def __init__(self, layout: Layout, environ: Mapping[str, str], log: Log, *, force: bool = False) -> None:
        self._layout = layout
        self._environ = environ
        self._log = log
        self._force = force

    def lines(self) -> list[str]:
        """What it would do, to be pasted."""
        with Rtnl() as netlink:
            found = self._find(netlink)
        if not self._may(found):
            return []
        lines = [operation.describe() for operation in found.operations]
        words = forwarding.words(self._environ, enable=False) if found.before.forwards else []
        lines += [" ".join(words)] if words else []
        return lines + Walls(self._environ).teardown()

    def run(self) -> Record:
        """The outcome: `down` 1, or 0 with those that are active."""
        with Rtnl() as netlink:
            found = self._find(netlink)
            if not self._may(found):
                return Record((("down", 0), *(("active", number) for number in found.active)))
            removed = self.take_down(netlink, found)
        return Record((("down", 1), *(("removed", line) for line in removed)))

    def _may(self, found: _Ours) -> bool:
        return self._force or not found.active

    def take_down(self, netlink: Rtnl, found: _Ours | None = None) -> list[str]:
        """All of it goes, whatever of it fails; the lines of what was done."""
        found = self._find(netlink) if found is None else found
        errors: list[Exception] = []
        done = [operation.describe() for operation in found.operations]
        try:
            apply.apply(netlink, found.operations, found.before, found.bridge)
        except OSError as error:
            errors.append(_failure(error, "the network was not removed"))
        if found.before.forwards and (words := forwarding.words(self._environ, enable=False)):
            done.append(" ".join(words))
            if trouble := forwarding.run(words):
                self._log(f"{done[-1]}: {trouble}")
        try:
            done += Walls(self._environ).remove(found.before.tables)
        except Unsupported:
            pass  # then there is none of ours
        except NspawnError as error:
            errors.append(error)
        log_lines(self._log, done)
        if errors:
            raise errors[0]
        found.before.forget()
        netstate.remove(self._layout)
        if slotfiles.peek(self._layout)[1]:
            with slotfiles.SlotFiles(self._layout) as files:
                files.reclaim()
        return done

    def _find(self, netlink: Rtnl) -> _Ours:
        last = netstate.read(self._layout)
        try:
            config, _, _ = read_config(self._layout)
        except NspawnError as error:
            self._log(f"the settings are not used: {error}")
            config = NetConfig()
        view = observe.look(netlink, self._environ)
        bridge = last.bridge or config.bridge
        old = before(self._layout)
        view = view._replace(sysctls=observe.sysctls(old.values))
        active = [number for link in view.links if (number := slot_of(link.name)) >= 0]
        return _Ours(bridge, active, diff.teardown(view, bridge, old.values, config.rule_base), old)


class _Ours(NamedTuple):
    """What of us is there, and what takes it away."""

    bridge: str
    active: list[int]
    operations: list[Operation]
    before: apply.Before


def before(layout: Layout) -> apply.Before:
    """What the settings were before us."""
    return apply.Before(f"{layout.network}/before")


def is_clean(view: View) -> bool:
    """Whether there is nothing of ours."""
    ours = any(rule.protocol == PROTOCOL for rule in view.rules)
    return not ours and not any(is_ours(link) for link in view.links)


def log_lines(log: Log, lines: list[str]) -> None:
    """What was done, cut: of the texts of the firewall only how long they are."""
    for line in lines[:_LOGGED]:
        first, *more = line.split("\n")
        log(f"{first} ({len(more)} lines)" if more else first)
    if len(lines) > _LOGGED:
        log(f"and {len(lines) - _LOGGED} more")


def _failure(error: OSError, what: str = _WHAT) -> NspawnError:
    place = f" ({error.filename})" if isinstance(error.filename, str) else ""
    kind = Unsupported if error.errno in (errno.EOPNOTSUPP, errno.EAFNOSUPPORT) else NspawnError
    return kind(what, f"{error.strerror or error}{place}")


def _outcome(found: Look) -> Record:
    plan = found.plan
    record = Record((("mode", plan.mode), ("bridge", plan.bridge), *found.subnet.fields()))
    record.add("ipv6", plan.ipv6)
    record.add("dns", int(bool(plan.addresses)))
    for each in plan.egress:
        number = "*" if each.number < 0 else each.number
        record.add("egress", f"{number} {each.link or '-'} {each.netid} {each.why}")
    for uplink in found.uplinks:
        if uplink.usable4 or uplink.usable6:
            record.add("uplink", f"{uplink.name} {uplink.kind}")
    for server in found.config.dns:
        record.add("server", server)
    for note in _distinct(found.notes):
        record.add("note", "|".join(text.replace("|", "/") for text in note))
    for family in (4, 6):
        record.add(f"digest{family}", found.walls.applied[family])
    return record


def _distinct(notes: Iterable[Note]) -> list[Note]:
    return list(dict.fromkeys(notes))
