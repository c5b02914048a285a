"""What a start must know of this machine, observed once per process."""

from __future__ import annotations

import os

from nspawn.errors import NspawnError, Unsupported
from nspawn.kernel import cgroup, libc, namespaces
from nspawn.layout import on_android
from nspawn.model.mounts import Operation, assembly

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from nspawn.layout import Layout

_OLDEST = (4, 19)
_DESCRIPTORS = 65536


class Host:
    """flags: CLONE_NEW* of every namespace that can be used; hierarchy: where cgroups are made.

    never: the namespaces that the user forbade; refused: those that the kernel shows and yet refuses.
    """

    __slots__ = ("_descriptors", "android", "controllers", "flags", "hierarchy", "never", "refused", "stage")

    def __init__(self, layout: Layout, environ: Mapping[str, str], never: Collection[str] = ()) -> None:
        """Observe; NspawnError when this machine or user cannot start containers at all."""
        release = os.uname().release
        if kernel_version(release) < _OLDEST:
            raise Unsupported(
                "containers need Linux 4.19 or newer",
                f"this kernel is {release}",
                "A newer system image, or another phone, is needed.",
            )
        if os.geteuid() != 0:
            raise NspawnError(
                "only root can start containers",
                f"this is user {os.geteuid()}",
                "Run it through su (phones) or sudo.",
            )
        self.stage = layout.stage
        self.refused: list[str] = []
        self._descriptors: tuple[int, int] | None = None
        self.android = on_android(environ)
        self.choose(never)
        if not self.flags & libc.CLONE_NEWNS:
            raise Unsupported(
                "containers need mount namespaces",
                "this kernel has none",
                "It was built without CONFIG_NAMESPACES.",
            )
        self.hierarchy = cgroup.find()
        self.controllers = cgroup.v1_controllers() if self.hierarchy.version == 1 else []
        self._make_stage(layout)

    def _make_stage(self, layout: Layout) -> None:
        for path in (layout.root, layout.run, layout.stage):
            try:
                if not os.path.isdir(path):
                    os.makedirs(path, 0o700)
            except FileExistsError:
                continue
            except OSError as error:
                raise NspawnError(
                    f"cannot make {path}",
                    error.strerror or "",
                    "Point NSPAWN_ROOT at a folder that root can write.",
                ) from error

    def raise_descriptor_limit(self) -> None:
        """For a process with three descriptors a container; containers get the limit that was before."""
        import resource  # for the spawner only

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, _DESCRIPTORS), hard))
        except (OSError, ValueError):
            return
        self._descriptors = (soft, hard)

    def lower_descriptor_limit(self) -> None:
        """Undo it, in a child."""
        if self._descriptors is not None:
            import resource

            resource.setrlimit(resource.RLIMIT_NOFILE, self._descriptors)

    def choose(self, never: Collection[str]) -> None:
        """Use what the kernel has but these namespaces."""
        self.never = never
        self.flags = namespaces.available() & ~namespaces.flags_of((*never, *self.refused))

    def refuse(self, name: str) -> None:
        """The kernel shows this namespace and refuses it."""
        self.refused.append(name)
        self.flags &= ~namespaces.flags_of((name,))

    def narrow(self) -> None:
        """Drop the namespaces that the kernel shows and yet refuses.  Called when a clone was refused."""
        usable = namespaces.usable(self.flags)
        self.refused += namespaces.names(self.flags & ~usable)
        self.flags = usable
        if not self.flags & libc.CLONE_NEWNS:
            raise Unsupported(
                "containers need mount namespaces",
                "the kernel refuses to make one",
                "A seccomp filter or SELinux may forbid it: try from another root shell.",
            )

    def flags_for(self, network: str) -> int:
        """The namespaces of a container with this network mode; Unsupported when it needs one not there."""
        if network == "host":
            return self.flags & ~libc.CLONE_NEWNET
        if not self.flags & libc.CLONE_NEWNET:
            raise Unsupported(
                "no network of its own for the container",
                self._why("net", "this kernel has no network namespaces (CONFIG_NET_NS)"),
                self._hint("net", "Start it with the host's network."),
            )
        return self.flags

    def plan(self, flags: int) -> list[Operation]:
        """The assembly for a container with these namespaces."""
        return assembly(
            own=namespaces.names(flags),
            cgroup=self.hierarchy.version,
            controllers=self.controllers,
        )

    def check(self, network: str, *, boot: bool) -> None:
        """Refuse what this machine cannot do: a network mode, the boot of an init."""
        self.flags_for(network)
        if boot and not self.flags & libc.CLONE_NEWPID:
            raise Unsupported(
                "the rootfs's own init cannot be booted",
                f"it insists on being process 1, and "
                f"{self._why('pid', 'this kernel has no PID namespaces (CONFIG_PID_NS)')}",
                self._hint("pid", "Run a command or a service of it instead: leave --boot away."),
            )

    def _why(self, name: str, why: str) -> str:
        return f"you chose never to use {name} namespaces" if name in self.never else why

    def _hint(self, name: str, hint: str) -> str:
        return f"{hint} Or use them again: nspawn guard allow {name}." if name in self.never else hint


def kernel_version(release: str) -> tuple[int, int]:
    """(major, minor) of a release such as "4.19.157-perf+"; (0, 0) when it tells none."""
    numbers = []
    for part in release.split(".")[:2]:
        digits = ""
        for character in part:
            if not character.isdecimal():
                break
            digits += character
        numbers.append(int(digits or 0))
    return (numbers[0], numbers[1]) if len(numbers) == 2 else (0, 0)
