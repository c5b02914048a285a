"""The subcommands: each translates its command line, calls one use case and prints the result."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from nspawn.errors import NspawnError, UsageError
from nspawn.layout import Layout

if TYPE_CHECKING:
    import argparse
    from types import FrameType

    from nspawn.model.settings import Settings
    from nspawn.service.containers import Container, Containers, Source

#: Bytes of the console's ring on disk.
_ALL = 2 << 20


def main(argv: list[str]) -> int:
    """Run `nspawn COMMAND ...`; the exit status.  NspawnError is for the caller to render."""
    from nspawn.cli import options

    parser = options.build(_COMMANDS)
    arguments = parser.parse_args(argv)
    status: int = arguments.call(arguments)
    return status


def _layout() -> Layout:
    return Layout.from_environment(os.environ)


def _containers() -> Containers:
    from nspawn.service.containers import Containers

    return Containers(_layout())


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _json(value: object) -> int:
    import json

    _say(json.dumps(value, indent=2))
    return 0


# Life


def _create(arguments: argparse.Namespace) -> int:
    import signal

    from nspawn.cli.show import Bar
    from nspawn.model.progress import Cancelled
    from nspawn.service.containers import CreateRequest

    settings = _settings(arguments)
    request = CreateRequest(name=arguments.name, source=_source(arguments), settings=settings)
    containers = _containers()
    bar = Bar()
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        container = containers.create(request, bar, lambda: False)
    except KeyboardInterrupt:
        bar.end()
        raise Cancelled from None
    finally:
        bar.end()
        signal.signal(signal.SIGTERM, before)
    _say(f"created {container.name}")
    if arguments.start:
        return _report_start(containers.start(container.name))
    return 0


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _source(arguments: argparse.Namespace) -> Source:
    from nspawn.service.containers import Builtin, Folder, Tarball

    if arguments.rootfs is not None:
        return Folder(os.path.abspath(arguments.rootfs))
    if arguments.tar == "-":
        if sys.stdin.isatty():
            raise UsageError(
                "there is no archive on standard input", "it is a terminal", "Use: ... --tar - < FILE"
            )
        return Tarball(sys.stdin.buffer)
    if arguments.tar is not None:
        return Tarball(os.path.abspath(arguments.tar))
    if arguments.image != "builtin":
        raise UsageError(
            f"there is no image {arguments.image[:80]!r}",
            "so far only 'builtin' comes along",
            "Use --tar for an archive, or --rootfs for a folder.",
        )
    return Builtin()


def _settings(arguments: argparse.Namespace) -> Settings:
    from nspawn.model import settings
    from nspawn.model.runspec import parse_env

    changes = {}
    for option, key in (
        ("command", "command"),
        ("user", "user"),
        ("workdir", "workdir"),
        ("hostname", "hostname"),
        ("net", "network.mode"),
        ("restart", "restart.policy"),
    ):
        value = getattr(arguments, option)
        if value is not None:
            changes[key] = value
    for option, key in (
        ("boot", "boot"),
        ("read_only", "read_only"),
        ("ephemeral", "ephemeral"),
        ("autostart", "autostart.enabled"),
    ):
        if getattr(arguments, option):
            changes[key] = "true"
    changes |= _changes(arguments.set)
    for key in ("image", "rootfs"):
        if key in changes:
            raise UsageError(f"{key}: it is what --image, --rootfs and --tar say")
    document = settings.to_toml_mapping(settings.apply(settings.Settings(), changes))
    _extend(document, "binds", arguments.bind)
    network = document["network"]
    environment = document["env"]
    assert isinstance(network, dict)
    assert isinstance(environment, dict)
    _extend(network, "ports", arguments.port)
    environment.update(parse_env(text) for text in arguments.env)
    return settings.parse(document)


def _extend(table: dict[str, object], key: str, more: list[str]) -> None:
    """Options that may be repeated come behind what --set gave."""
    items = table[key]
    assert isinstance(items, list)
    items += more


def _changes(pairs: list[str]) -> dict[str, str]:
    changes = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise UsageError(f"{pair[:80]!r} is not KEY=VALUE", hint="As in: nspawn set box autostart=true")
        if key in changes:
            raise UsageError(f"{key[:80]}: it is given twice")
        changes[key] = value
    return changes


def _start(arguments: argparse.Namespace) -> int:
    status = _report_start(_containers().start(arguments.name))
    return _console(arguments) if arguments.attach else status


def _report_start(container: Container) -> int:
    from nspawn.cli.show import clean

    for text in container.state.warnings:
        sys.stderr.write(f"nspawn: {clean(text)}\n")
    if container.damaged:
        sys.stderr.write(f"{container.damaged.render()}\n")
    _say(f"{container.name}: {container.state.state}{_ended(container)}")
    return 0


def _ended(container: Container) -> str:
    from nspawn.cli.show import clean

    return f" ({clean(container.state.exit)})" if container.state.exit and not container.state.active else ""


def _stop(arguments: argparse.Namespace) -> int:
    container = _containers().stop(arguments.name, _seconds(arguments.time))
    _say(f"{container.name}: {container.state.state}{_ended(container)}")
    return 0


def _restart(arguments: argparse.Namespace) -> int:
    return _report_start(_containers().restart(arguments.name, _seconds(arguments.time)))


def _seconds(value: float | None) -> float | None:
    if value is not None and not 0 <= value <= 86400:
        raise UsageError("--time: expected seconds from 0 to 86400")
    return value


def _kill(arguments: argparse.Namespace) -> int:
    container = _containers().kill(arguments.name, arguments.signal)
    _say(f"{container.name}: {container.state.state}{_ended(container)}")
    return 0


# What is there


def _list(arguments: argparse.Namespace) -> int:
    from nspawn.cli import show

    containers = _containers().list()
    if arguments.json:
        return _json([each.as_dict() for each in containers])
    if not containers:
        sys.stderr.write("There is no container yet.  The first: nspawn create box --image builtin --start\n")
        return 0
    sys.stdout.write(show.table(show.container_rows(containers)))
    for each in containers:
        if each.damaged:
            sys.stderr.write(f"{each.damaged.render()}\n")
    return 0


def _info(arguments: argparse.Namespace) -> int:
    from nspawn.cli import show
    from nspawn.model import settings, toml

    container = _containers().get(arguments.name)
    if arguments.json:
        return _json(container.as_dict())
    defaults = settings.flatten(settings.Settings())
    changed = {
        key: toml.inline(value)
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
    layout = _layout()
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
    from nspawn.model.names import parse_container_name

    return console(_layout(), parse_container_name(arguments.name))


def _logs(arguments: argparse.Namespace) -> int:
    from nspawn.cli.plain import Plain

    if arguments.lines is not None and arguments.lines < 0:
        raise UsageError("--lines: expected a number from 0")
    containers = _containers()
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
    container = _containers().rename(arguments.name, arguments.new)
    _say(f"{arguments.name} is {container.name} now")
    return 0


def _set(arguments: argparse.Namespace) -> int:
    container = _containers().update(arguments.name, _changes(arguments.changes))
    if container.state.active:
        sys.stderr.write(
            f"{container.name} runs with its old settings until: nspawn restart {container.name}\n"
        )
    return 0


def _rm(arguments: argparse.Namespace) -> int:
    containers = _containers()
    rootfs = containers.get(arguments.name).settings.rootfs
    containers.remove(arguments.name)
    _say(f"removed {arguments.name}" + (f"; its files are still in {rootfs}" if rootfs else ""))
    return 0


# The machine


def _boot(arguments: argparse.Namespace) -> int:
    from nspawn.service.boot import Outcome, boot

    def tell(outcome: Outcome) -> None:
        if arguments.json:
            return
        if outcome.error:
            sys.stderr.write(f"{outcome.error.render()}\n")
            sys.stderr.flush()
        else:
            _say(f"{outcome.name}: {outcome.result}")

    outcomes = boot(_layout(), tell)
    if arguments.json:
        _json([each.as_dict() for each in outcomes])
    return 1 if any(each.error for each in outcomes) else 0


def _doctor(arguments: argparse.Namespace) -> int:
    from nspawn.cli import show
    from nspawn.service import host

    report = host.report(_layout())
    if arguments.json:
        _json(report.as_dict())
    else:
        sys.stdout.write(show.host_text(report))
    return 1 if report.problems else 0


def _login(arguments: argparse.Namespace) -> int:
    from nspawn.service import daemon, page
    from nspawn.service.access import Access

    layout = _layout()
    if arguments.code:
        _say(Access(layout).issue_code())
        return 0
    port = page.find_own(daemon.ensure_default(layout))
    _say(f"http://127.0.0.1:{port}/login#{Access(layout).issue_code()}")
    return 0


def _token(arguments: argparse.Namespace) -> int:
    from nspawn.service.access import Access

    access = Access(_layout())
    _say(access.rotate() if arguments.action == "rotate" else access.token())
    return 0


def _shutdown(_arguments: argparse.Namespace) -> int:
    from nspawn.errors import NotRunning
    from nspawn.service import daemon

    try:
        daemon.shutdown(_layout())
    except NotRunning:
        _say("the spawner is not running")
    return 0


def _serve(arguments: argparse.Namespace) -> int:
    from nspawn.service import daemon, page
    from nspawn.service.store import Store

    layout = _layout()
    if arguments.no_page:
        port = 0
    else:
        port = page.port(layout) if arguments.port is None else page.parse_port(arguments.port, "--port")
    Store(layout).prepare()
    command = daemon.command(layout, page.addresses(port))
    os.umask(0o077)
    os.chdir("/")
    try:
        os.execve(command[0], command, daemon.environment(os.environ))  # noqa: S606  (no shell is wanted)
    except OSError as error:
        raise NspawnError("the spawner cannot be started", error.strerror or str(error)) from None


_COMMANDS = {
    "boot": _boot,
    "console": _console,
    "create": _create,
    "doctor": _doctor,
    "exec": _exec,
    "info": _info,
    "kill": _kill,
    "list": _list,
    "login": _login,
    "logs": _logs,
    "rename": _rename,
    "restart": _restart,
    "rm": _rm,
    "serve": _serve,
    "set": _set,
    "shell": _shell,
    "shutdown": _shutdown,
    "start": _start,
    "stop": _stop,
    "token": _token,
}
