"""What to run in a container: the one value that the command line, the store and the spawner share."""

from __future__ import annotations

from nspawn.errors import UsageError
from nspawn.model.names import parse_host_name
from nspawn.model.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from nspawn.model.netwish import Wish

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#: Tried in this order when no command is given.
SHELLS = ("/bin/bash", "/bin/sh")
#: Tried in this order for `--boot`.
INITS = (
    "/sbin/init",
    "/usr/sbin/init",
    "/lib/systemd/systemd",
    "/usr/lib/systemd/systemd",
    "/bin/init",
    "/init",
)
#: "host": the host's network; "nat": one of its own behind that; "none": only loopback.
NETWORKS = ("host", "nat", "none")


class Bind:
    """A folder or file of the host shown in the container.

    source: absolute path on the host; target: absolute path in the container, without `..`.
    optional: a source that is not there is skipped instead of being an error.
    """

    __slots__ = ("optional", "read_only", "source", "target")

    def __init__(self, source: str, target: str, *, read_only: bool = False, optional: bool = False) -> None:
        self.source = source
        self.target = target
        self.read_only = read_only
        self.optional = optional

    @classmethod
    def parse(cls, text: str) -> Bind:
        """`SRC:DST[:ro|:rw]` as `--bind` takes it, or UsageError."""
        parts = text.split(":")
        mode = parts.pop() if len(parts) == 3 else "rw"
        if len(parts) != 2 or mode not in ("ro", "rw"):
            raise UsageError(
                f"{text!r} is not a bind", hint="Write SRC:DST or SRC:DST:ro; paths hold no ':'."
            )
        source, target = parts
        for path in parts:
            if not path.startswith("/") or "\0" in path:
                raise UsageError(
                    f"the bind {text!r} needs absolute paths", f"{path!r} does not begin with '/'"
                )
        return cls(source, parse_target(target), read_only=mode == "ro")

    def __str__(self) -> str:
        return f"{self.source}:{self.target}{':ro' if self.read_only else ''}"

    def fields(self) -> tuple[tuple[str, str], ...]:
        """In a record."""
        mode = f"{'ro' if self.read_only else 'rw'}{'?' if self.optional else ''}"
        return (("bind-source", self.source), ("bind-target", self.target), ("bind-mode", mode))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Bind) and all(
            getattr(self, slot) == getattr(other, slot) for slot in self.__slots__
        )

    __hash__ = None  # type: ignore[assignment]


class RunSpec:
    """One run of one container.

    rootfs: absolute path, or "" when a descriptor of it travels beside the record.
    argv: empty for the first of SHELLS, or of INITS with `boot`.
    env: beyond PATH, HOME, TERM and container, which always are there unless given here.
    volumes: absolute paths in the container, folders of its rootfs that are made when missing, and stay
    writable and are kept with read_only and ephemeral.
    user: "name", "uid", "name:group" or "uid:gid", looked up in the container.
    wish: what a command line asks of a network of its own; it does not travel in a record.
    """

    __slots__ = (
        "argv",
        "binds",
        "boot",
        "env",
        "ephemeral",
        "hostname",
        "network",
        "read_only",
        "rootfs",
        "term",
        "user",
        "volumes",
        "wish",
        "workdir",
    )

    def __init__(
        self,
        *,
        rootfs: str = "",
        argv: Iterable[str] = (),
        env: Mapping[str, str] | None = None,
        hostname: str = "nspawn",
        user: str = "",
        workdir: str = "",
        read_only: bool = False,
        ephemeral: bool = False,
        boot: bool = False,
        binds: Iterable[Bind] = (),
        volumes: Iterable[str] = (),
        network: str = "host",
        wish: Wish | None = None,
        term: str = "xterm-256color",
    ) -> None:
        self.rootfs = rootfs
        self.argv = list(argv)
        self.env = dict(env or {})
        self.hostname = hostname
        self.user = user
        self.workdir = workdir
        self.read_only = read_only
        self.ephemeral = ephemeral
        self.boot = boot
        self.binds = list(binds)
        self.volumes = list(volumes)
        self.network = network
        self.wish = wish
        self.term = term

    def environment(self, home: str) -> dict[str, str]:
        """The whole environment of the command; home: of the user it runs as."""
        given = {"PATH": PATH, "HOME": home, "TERM": self.term, "container": "nspawn"}
        given.update(self.env)
        return given

    def to_record(self) -> Record:
        record = Record(
            (
                ("rootfs", self.rootfs),
                ("hostname", self.hostname),
                ("user", self.user),
                ("workdir", self.workdir),
                ("read-only", int(self.read_only)),
                ("ephemeral", int(self.ephemeral)),
                ("boot", int(self.boot)),
                ("network", self.network),
                ("term", self.term),
            )
        )
        for argument in self.argv:
            record.add("arg", argument)
        for name, value in self.env.items():
            record.add("env", f"{name}={value}")
        for volume in self.volumes:
            record.add("volume", volume)
        for bind in self.binds:
            for key, value in bind.fields():
                record.add(key, value)
        return record

    @classmethod
    def from_record(cls, record: Record) -> RunSpec:
        """The value again; UsageError when a field breaks a rule (the record comes over a socket)."""
        env: dict[str, str] = {}
        for text in _texts(record, "env"):
            name, value = parse_env(text)
            env[name] = value
        parts = [_texts(record, key) for key in ("bind-source", "bind-target", "bind-mode")]
        if len({len(part) for part in parts}) != 1:
            raise UsageError("the binds are not whole", f"{parts!r}"[:200])
        binds = [
            Bind(source, parse_target(target), read_only=mode.startswith("ro"), optional=mode.endswith("?"))
            for source, target, mode in zip(*parts, strict=True)
        ]
        network = record.text("network", "host")
        if network not in NETWORKS:
            raise UsageError(f"{network!r} is not a network mode", hint=f"Use one of {', '.join(NETWORKS)}.")
        return cls(
            rootfs=record.text("rootfs"),
            argv=_texts(record, "arg"),
            env=env,
            hostname=parse_host_name(record.text("hostname", "nspawn")),
            user=parse_user(record.text("user")) if record.text("user") else "",
            workdir=record.text("workdir"),
            read_only=record.flag("read-only"),
            ephemeral=record.flag("ephemeral"),
            boot=record.flag("boot"),
            binds=binds,
            volumes=[parse_target(path) for path in _texts(record, "volume")],
            network=network,
            term=record.text("term", "xterm-256color"),
        )


def parse_env(text: str) -> tuple[str, str]:
    """`K=V` as `--env` takes it, or UsageError.  The value may be empty and may hold anything but NUL."""
    name, equals, value = text.partition("=")
    if (
        not equals
        or not name
        or "\0" in text
        or name[0].isdigit()
        or not name.replace("_", "a").isalnum()
        or not name.isascii()
    ):
        raise UsageError(
            f"{text[:80]!r} is not an environment variable",
            hint="Write NAME=VALUE; a name is letters, digits and '_', not beginning with a digit.",
        )
    return name, value


def parse_user(text: str) -> str:
    """`USER[:GROUP]`, names or numbers, as `--user` takes it, or UsageError."""
    parts = text.split(":")
    if len(parts) > 2 or not all(parts) or "\0" in text or "\n" in text:
        raise UsageError(f"{text[:80]!r} is not a user", hint="Write NAME, UID, NAME:GROUP or UID:GID.")
    return text


def parse_target(path: str) -> str:
    """A path in the container for a bind: absolute, below the root, no `..`; or UsageError."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if not path.startswith("/") or ".." in parts or not parts or "\0" in path:
        raise UsageError(
            f"{path[:80]!r} is not a place in a container",
            hint="Use an absolute path below '/', without '..'.",
        )
    return "/" + "/".join(parts)


def _texts(record: Record, key: str) -> list[str]:
    return [value.decode("utf-8", "surrogateescape") for value in record.all(key)]
