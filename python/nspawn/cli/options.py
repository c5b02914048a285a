"""The command lines of all subcommands."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, NoReturn

from nspawn.cli import imageoptions, images, transfer
from nspawn.cli.names import SUBCOMMANDS
from nspawn.errors import UsageError

Command = Callable[[argparse.Namespace], int]


class Parser(argparse.ArgumentParser):
    """Errors are ours; abbreviated options would change their meaning with each new one."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        """Raise what argparse would print and exit for."""
        raise UsageError(message, hint=f"See {self.prog} --help.")


def build(commands: dict[str, Command]) -> Parser:
    """The parser.  commands: what to call, by the subcommand's name."""
    parser = Parser(prog="nspawn", description="Containers by name.")
    words = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=Parser)

    def add(name: str, *, named: bool = True) -> argparse.ArgumentParser:
        text = SUBCOMMANDS[name]
        word = words.add_parser(name, help=text, description=f"{text}.")
        if name in commands:
            word.set_defaults(call=commands[name])
        if named:
            word.add_argument("name", metavar="NAME", help="the container")
        return word

    _add_create(add("create"))
    start = add("start")
    start.add_argument("-a", "--attach", action="store_true", help="show its console")
    for name in ("stop", "restart"):
        word = add(name)
        word.add_argument(
            "--time", type=float, metavar="S", help="seconds before it is killed (default: its stop_time)"
        )
    kill = add("kill")
    kill.add_argument(
        "-s", "--signal", default="SIGKILL", metavar="SIGNAL", help="default: SIGKILL, for all of it"
    )
    add("freeze")
    add("thaw")
    show = add("list", named=False)
    show.add_argument("--json", action="store_true", help="for programs")
    info = add("info")
    info.add_argument("--json", action="store_true", help="for programs")
    _add_inside(add("exec"), command=True)
    _add_inside(add("shell"), command=False)
    add("console")
    logs = add("logs")
    logs.add_argument("-f", "--follow", action="store_true", help="go on with what it writes from now on")
    logs.add_argument("-n", "--lines", type=int, metavar="N", help="only the last N lines")
    logs.add_argument("--raw", action="store_true", help="every byte, also what acts on a terminal")
    for name in ("clone", "export"):
        add(name)
    add("import", named=False)
    transfer.add(words)
    rename = add("rename")
    rename.add_argument("new", metavar="NEW", help="the name it shall have")
    change = add("set")
    change.add_argument(
        "changes",
        nargs="*",
        metavar="KEY=VALUE",
        help="such as autostart.order=3 or binds=/a:/b,/c:/d:ro; KEY= for the default; none: show all keys",
    )
    add("rm")
    images.add(add("image", named=False), Parser)
    boot = add("boot", named=False)
    boot.add_argument("--json", action="store_true", help="for programs")
    boot.add_argument("--wait", action="store_true", help="stay until nothing waits any more")
    boot.add_argument("--again", action="store_true", help="also what was stopped since the machine started")
    doctor = add("doctor", named=False)
    form = doctor.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="for programs")
    form.add_argument("--brief", action="store_true", help="a few narrow lines, at once")
    guard = add("guard", named=False)
    guard.add_argument(
        "action",
        nargs="?",
        default="status",
        choices=["status", "try-again", "never", "allow"],
        help="try-again: as if nothing had happened; never, allow: leave a feature out, or not any more",
    )
    guard.add_argument("feature", nargs="?", metavar="FEATURE", help="pid, ipc, uts, cgroup, time or net")
    guard.add_argument("--json", action="store_true", help="for programs")
    net = add("net", named=False)
    net.add_argument(
        "action",
        nargs="?",
        default="status",
        choices=["status", "explain", "watch", "up", "down"],
        help="explain: why a container's traffic goes where it goes; watch: tell each change; "
        "down: remove all that was set up",
    )
    net.add_argument("name", nargs="?", metavar="NAME", help="of a container, for explain")
    net.add_argument("--json", action="store_true", help="status, explain: for programs")
    net.add_argument("--force", action="store_true", help="down: also while containers use it")
    net.add_argument(
        "--dry-run", action="store_true", help="up, down: only show the commands it would stand for"
    )
    login = add("login", named=False)
    login.add_argument("--code", action="store_true", help="only the code")
    login.add_argument(
        "--localhost", action="store_true", help="by this name, where it leads to nobody else's page"
    )
    token = add("token", named=False)
    token.add_argument("action", nargs="?", choices=["rotate"], help="make a new one; all logins end")
    gone = add("uninstall", named=False)
    fate = gone.add_mutually_exclusive_group()
    fate.add_argument("--purge", action="store_true", help="delete all containers, images and settings too")
    fate.add_argument("--keep", action="store_true", help="take an uninstallation back, before the reboot")
    gone.add_argument("--yes", action="store_true", help="do not ask")
    add("shutdown", named=False)
    serve = add("serve", named=False)
    serve.add_argument(
        "--port", type=int, metavar="N", help="of the page (default: page.port of config.toml, 8080)"
    )
    serve.add_argument(
        "--boot", action="store_true", help="the machine has just started: start what is marked autostart"
    )
    serve.add_argument("--no-page", action="store_true", help="only the spawner")
    return parser


def _add_create(create: argparse.ArgumentParser) -> None:
    source = create.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--image",
        metavar="IMAGE",
        help="'builtin' (busybox, without any network), a distribution (debian:13), a registry's image "
        "(docker.io/library/nginx), a file (./x.tar.xz, '-') or an address (https://...#sha256=...)",
    )
    source.add_argument("--rootfs", metavar="DIR", help="a folder of yours, used where it is")
    source.add_argument(
        "--tar", metavar="FILE", help="an archive (.tar, .gz, .bz2, .xz, .zst), '-' for standard input"
    )
    imageoptions.add(create.add_argument_group("of an image"))
    create.add_argument("--start", action="store_true", help="start it as well")
    create.add_argument(
        "--command", metavar="WORDS", help="what it runs (default: what the image says, or a shell)"
    )
    create.add_argument(
        "--boot",
        action="store_true",
        help="run the rootfs's own init (default for a distribution that has one)",
    )
    create.add_argument("--env", action="append", default=[], metavar="NAME=VALUE", help="may be repeated")
    create.add_argument("--bind", action="append", default=[], metavar="SRC:DST[:ro]", help="may be repeated")
    create.add_argument("--user", metavar="USER[:GROUP]", help="who its command runs as")
    create.add_argument("--workdir", metavar="DIR", help="where its command starts")
    create.add_argument("--hostname", metavar="NAME", help="instead of the container's name")
    _add_network(create)
    create.add_argument("--read-only", action="store_true", help="its rootfs cannot be written")
    create.add_argument("--ephemeral", action="store_true", help="what it writes is gone at its end")
    create.add_argument("--autostart", action="store_true", help="start it with the machine")
    create.add_argument("--restart", metavar="POLICY", help="'no' (default), 'on-failure' or 'always'")
    create.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="any setting; may be repeated"
    )


def _add_network(create: argparse.ArgumentParser) -> None:
    create.add_argument(
        "--net",
        nargs="?",
        const="nat",
        metavar="MODE",
        help="'host' (default), 'nat' (--net alone): an address of its own, 'none': only loopback",
    )
    create.add_argument(
        "-p",
        "--publish",
        "--port",
        action="append",
        default=[],
        metavar="[ADDR:]HOST:PORT[/udp]",
        help="lead a port of the host to one of the container; HOST-HOST for several; may be repeated",
    )
    create.add_argument(
        "--publish-all",
        action="store_true",
        help="lead to each port that the image says it listens at, from the same port of the host",
    )
    create.add_argument(
        "-P",
        "--port-range",
        action="append",
        default=[],
        metavar="START:END",
        help="lead all these ports to the same ones of the container, tcp and udp; may be repeated",
    )
    create.add_argument("--ip", metavar="ADDRESS", help="a fixed IPv4 address (default: a free one, kept)")
    create.add_argument(
        "--route-via",
        action="append",
        default=[],
        metavar="UPLINK[,...]",
        help="its way out: interfaces, patterns or vpn, wifi, ethernet, mobile, the preferred first",
    )
    create.add_argument("--on-down", metavar="DO", help="without such an uplink: 'block' or 'fallback'")
    create.add_argument(
        "--dns", action="append", default=[], metavar="SERVER[,...]", help="ask these instead of the host"
    )
    create.add_argument("--ipv6", metavar="MODE", help="'auto', 'proxy' (a global address) or 'off'")


def _add_inside(word: argparse.ArgumentParser, *, command: bool) -> None:
    word.add_argument("--user", default="", metavar="USER[:GROUP]", help="default: root")
    word.add_argument("--workdir", default="", metavar="DIR", help="default: the user's home")
    word.add_argument("--env", action="append", default=[], metavar="NAME=VALUE", help="may be repeated")
    if command:
        word.add_argument("argv", nargs=argparse.REMAINDER, metavar="CMD", help="with its arguments")
