"""Subcommands about the machine: boot, doctor, login, token, shutdown, serve."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

from nspawn.cli import base
from nspawn.errors import NspawnError, UsageError

if TYPE_CHECKING:
    import argparse


def boot(arguments: argparse.Namespace) -> int:
    """`nspawn boot`: status 1 when any failed."""
    from nspawn.service import boot as booting

    def tell(outcome: booting.Outcome) -> None:
        if arguments.json:
            return
        if outcome.error:
            sys.stderr.write(f"{outcome.error.render()}\n")
            sys.stderr.flush()
        else:
            base.say(f"{outcome.name}: {outcome.waits or outcome.result}")

    outcomes = booting.boot(base.layout(), tell, again=arguments.again)
    # Where nothing was decided, or it could not be written down, nothing is to be followed.
    if arguments.wait and all(each.name for each in outcomes):
        outcomes += booting.wait(base.layout(), tell)
    if arguments.json:
        base.say_json([each.as_dict() for each in outcomes])
    elif not outcomes:
        sys.stderr.write(
            "Nothing is left to start in this boot.  What was stopped since: nspawn boot --again\n"
        )
    return 1 if any(each.error for each in outcomes) else 0


def doctor(arguments: argparse.Namespace) -> int:
    """`nspawn doctor`: status 1 when containers cannot run here."""
    if arguments.brief:
        from nspawn.cli import brief

        return brief.main()
    from nspawn.cli import doctor as show
    from nspawn.service import host

    report = host.report(base.layout())
    if arguments.json:
        base.say_json(report.as_dict())
    else:
        sys.stdout.write(show.text(report))
    return 1 if report.problems else 0


def login(arguments: argparse.Namespace) -> int:
    """`nspawn login`: the address, only of a page that is ours."""
    from nspawn.service import daemon, page
    from nspawn.service.access import Access

    layout = base.layout()
    if arguments.code:
        base.say(Access(layout).issue_code())
        return 0
    answer = daemon.ensure_default(layout)
    port = page.find_own(layout, answer)
    # A login counts for the name in the address: people type this one.
    host = "localhost" if arguments.localhost and page.by_name(answer, port) else "127.0.0.1"
    if sys.stdout.isatty():  # who takes the address by a program shows it in his own words
        sys.stderr.write(f"The page of {layout.root}:\n")
    base.say(f"http://{host}:{port}/login#{Access(layout).issue_code()}")
    return 0


def token(arguments: argparse.Namespace) -> int:
    """`nspawn token [rotate]`."""
    from nspawn.service.access import Access

    access = Access(base.layout())
    base.say(access.rotate() if arguments.action == "rotate" else access.token())
    return 0


def shutdown(_arguments: argparse.Namespace) -> int:
    """`nspawn shutdown`: returns when the spawner is gone."""
    from nspawn.errors import NotRunning
    from nspawn.service import daemon

    try:
        daemon.shutdown(base.layout())
    except NotRunning:
        base.say("the spawner is not running")
    return 0


def serve(arguments: argparse.Namespace) -> int:
    """`nspawn serve`: become the keeper."""
    from nspawn.android import environment
    from nspawn.service import config, daemon, page
    from nspawn.service.store import Store

    layout = base.layout()
    if arguments.no_page:
        port = 0
    elif arguments.port is not None:
        port = config.parse_port(arguments.port, "--port")
    else:
        found = config.load(layout)
        port = found.port
        if found.problem is not None:
            # A machine that starts must have its containers and its page, whatever somebody wrote there.
            if isinstance(found.problem, UsageError) and not arguments.boot:
                raise found.problem
            sys.stderr.write(f"{found.problem.render()}\n")
    Store(layout).prepare()
    command = daemon.command(
        layout, page.addresses(port), strict=arguments.port is not None, boot=arguments.boot
    )
    os.umask(0o077)
    os.chdir("/")
    for number in (signal.SIGINT, signal.SIGQUIT):
        # A shell's "&" has both ignored, and each container would inherit that.
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execve(command[0], command, environment.service(os.environ, layout))  # noqa: S606  (no shell is wanted)
    except OSError as error:
        raise NspawnError("the spawner cannot be started", error.strerror or str(error)) from None
