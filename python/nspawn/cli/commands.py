"""The subcommands: each translates its command line, calls one use case and prints the result."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from nspawn.cli import base, create, guard, machine, net, transfer, uninstall
from nspawn.errors import UsageError

if TYPE_CHECKING:
    import argparse

#: Bytes of the console's ring on disk.
_ALL = 2 << 20
#: Settings that a running container does not have to be restarted for.
_NOT_OF_A_RUN = ("autostart", "image", "exposed_ports")


def main(argv: list[str]) -> int:
    """Run `nspawn COMMAND ...`; the exit status.  NspawnError is for the caller to render."""
    from nspawn.cli import options

    parser = options.build(_COMMANDS)
    arguments = parser.parse_args(argv)
    status: int = arguments.call(arguments)
    return status


# Life


def _start(arguments: argparse.Namespace) -> int:
    status = base.report_start(base.containers().start(arguments.name))
    return _console(arguments) if arguments.attach else status


def _stop(arguments: argparse.Namespace) -> int:
    container = base.containers().stop(arguments.name, _seconds(arguments.time))
    base.say(f"{container.name}: {container.state.state}{base.ended(container)}")
    return 0


def _restart(arguments: argparse.Namespace) -> int:
    return base.report_start(base.containers().restart(arguments.name, _seconds(arguments.time)))


def _seconds(value: float | None) -> float | None:
    if value is not None and not 0 <= value <= 86400:
        raise UsageError("--time: expected seconds from 0 to 86400")
    return value


def _kill(arguments: argparse.Namespace) -> int:
    container = base.containers().kill(arguments.name, arguments.signal)
    base.say(f"{container.name}: {container.state.state}{base.ended(container)}")
    return 0


def _freeze(arguments: argparse.Namespace) -> int:
    base.containers().freeze(arguments.name)
    base.say(f"{arguments.name}: frozen")
    return 0


def _thaw(arguments: argparse.Namespace) -> int:
    base.say(f"{arguments.name}: {base.containers().thaw(arguments.name).state.state}")
    return 0


# What is there


def _list(arguments: argparse.Namespace) -> int:
    from nspawn.cli import show

    containers = base.containers().list()
    if arguments.json:
        return base.say_json([each.as_dict() for each in containers])
    if not containers:
        sys.stderr.write("There is no container yet.  The first: nspawn create box --image builtin --start\n")
        return 0
    sys.stdout.write(show.table(show.container_rows(containers)))
    for each in containers:
        if each.damaged:
            sys.stderr.write(f"{each.damaged.render()}\n")
    guard.tell_blocked()
    return 0


def _info(arguments: argparse.Namespace) -> int:
    import json

    from nspawn.cli import show
    from nspawn.model import settings

    container = base.containers().get(arguments.name)
    if arguments.json:
        return base.say_json(container.as_dict())
    defaults = settings.flatten(settings.Settings())
    changed = {
        key: json.dumps(value, ensure_ascii=False)
        for key, value in settings.flatten(container.settings).items()
        if value != defaults[key] and key != "rootfs"
    }
    sys.stdout.write(show.container_text(container, changed))
    if container.damaged:
        sys.stderr.write(f"{container.damaged.render()}\n")
    return 0


# Inside


def _exec(arguments: argparse.Namespace) -> int:
    argv = arguments.argv[1:] if arguments.argv[:1] == ["--"] else arguments.argv
    if not argv:
        raise UsageError(
            "a command is needed", hint="nspawn exec NAME CMD...; for a shell: nspawn shell NAME"
        )
    return _enter(arguments, argv)


def _shell(arguments: argparse.Namespace) -> int:
    return _enter(arguments, [])


def _enter(arguments: argparse.Namespace, argv: list[str]) -> int:
    from nspawn.container.enter import enter
    from nspawn.model.runspec import parse_env
    from nspawn.service.store import Store

    if arguments.workdir and not arguments.workdir.startswith("/"):
        raise UsageError(
            "--workdir needs an absolute path", f"{arguments.workdir[:80]!r} does not begin with '/'"
        )
    layout = base.layout()
    settings = Store(layout).load(arguments.name).settings
    return enter(
        layout,
        arguments.name,
        argv,
        env={**settings.env, **dict(parse_env(text) for text in arguments.env)},
        user=arguments.user,
        workdir=arguments.workdir,
        tty=os.isatty(0) and os.isatty(1),
        term=os.environ.get("TERM") or "xterm-256color",
    )


def _console(arguments: argparse.Namespace) -> int:
    from nspawn.cli.terminal import console

    base.containers().get(arguments.name)  # for its own error when there is none
    return console(base.layout(), arguments.name)


def _logs(arguments: argparse.Namespace) -> int:
    from nspawn.cli.plain import Plain

    if arguments.lines is not None and arguments.lines < 0:
        raise UsageError("--lines: expected a number from 0")
    containers = base.containers()
    plain = None if arguments.raw else Plain()

    def write(data: bytes) -> None:
        sys.stdout.buffer.write(plain.feed(data) if plain else data)
        sys.stdout.buffer.flush()

    if not arguments.follow:
        write(_last_lines(containers.log(arguments.name, _ALL), arguments.lines))
    else:
        limit = _ALL
        if arguments.lines is not None:
            limit = len(_last_lines(containers.log(arguments.name, _ALL), arguments.lines))
        with containers.follow(arguments.name, limit) as chunks:
            for chunk in chunks:
                write(chunk)
    if plain:
        sys.stdout.buffer.write(plain.end())
    return 0


def _last_lines(data: bytes, lines: int | None) -> bytes:
    if lines is None:
        return data
    return b"".join(data.splitlines(keepends=True)[-lines:]) if lines else b""


# Changes


def _rename(arguments: argparse.Namespace) -> int:
    container = base.containers().rename(arguments.name, arguments.new)
    base.say(f"{arguments.name} is {container.name} now")
    return 0


def _set(arguments: argparse.Namespace) -> int:
    if not arguments.changes:
        return _show_settings(arguments.name)
    changes = base.parse_changes(arguments.changes)
    container = base.containers().update(arguments.name, changes)
    base.say(f"{container.name}: {', '.join(sorted(changes))} saved")
    base.tell_kept_only(changes)
    if container.state.active and not all(key.partition(".")[0] in _NOT_OF_A_RUN for key in changes):
        sys.stderr.write(
            f"{container.name} runs with its old settings until: nspawn restart {container.name}\n"
        )
    return 0


def _show_settings(name: str) -> int:
    """Every key with its value, as `set` takes them."""
    import json

    from nspawn.model import settings

    for key, value in settings.flatten(base.containers().get(name).settings).items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        base.say(f"{key}={text}")
    return 0


def _rm(arguments: argparse.Namespace) -> int:
    containers = base.containers()
    rootfs = containers.get(arguments.name).settings.rootfs
    containers.remove(arguments.name)
    base.say(f"removed {arguments.name}" + (f"; its files are still in {rootfs}" if rootfs else ""))
    return 0


_COMMANDS = {
    "boot": machine.boot,
    "clone": transfer.clone,
    "console": _console,
    "create": create.create,
    "doctor": machine.doctor,
    "exec": _exec,
    "export": transfer.export,
    "freeze": _freeze,
    "guard": guard.guard,
    "import": transfer.import_,
    "info": _info,
    "kill": _kill,
    "list": _list,
    "login": machine.login,
    "logs": _logs,
    "net": net.net,
    "rename": _rename,
    "restart": _restart,
    "rm": _rm,
    "serve": machine.serve,
    "set": _set,
    "shell": _shell,
    "shutdown": machine.shutdown,
    "start": _start,
    "stop": _stop,
    "thaw": _thaw,
    "token": machine.token,
    "uninstall": uninstall.uninstall,
}
