"""The words that `nspawn` takes as subcommands; everything else in first place is a rootfs.

No imports: the path of `nspawn ROOTFS COMMAND` reads this.
"""

SUBCOMMANDS = frozenset(
    (
        "boot",
        "console",
        "create",
        "doctor",
        "exec",
        "info",
        "kill",
        "list",
        "login",
        "logs",
        "rename",
        "restart",
        "rm",
        "serve",
        "set",
        "shell",
        "shutdown",
        "start",
        "stop",
        "token",
    )
)
