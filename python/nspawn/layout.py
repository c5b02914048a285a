"""Every path of the program's state, from one root."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


#: What the spawner, and the programs that it starts, may know of the environment that it was started from.
PASSED_ON = (
    "ALL_PROXY",
    "ANDROID_ART_ROOT",
    "ANDROID_DATA",
    "ANDROID_I18N_ROOT",
    "ANDROID_ROOT",
    "ANDROID_STORAGE",
    "ANDROID_TZDATA_ROOT",
    "ALL_PROXY",
    "HOME",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    "NSPAWN_GUARD",
    "NSPAWN_IMAGE_SERVER",
    "NSPAWN_MODULE",
    "NSPAWN_PHONE",
    "NSPAWN_REST",
    "NSPAWN_WEB_IDLE",
    "SSL_CERT_FILE",
    "TMPDIR",
    "TZ",
    "TZDIR",
    "all_proxy",
    "http_proxy",
    "https_proxy",
    "no_proxy",
)


class Layout:
    """Paths below one root folder (mode 0700).

    root: absolute path, without a trailing slash.
    """

    __slots__ = ("root",)

    def __init__(self, root: str) -> None:
        self.root = root.rstrip("/") or "/"

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Layout:
        """NSPAWN_ROOT, else the folder of this kind of machine (DESIGN: State)."""
        chosen = environ.get("NSPAWN_ROOT", "")
        if chosen:
            return cls(chosen)
        if on_android(environ):
            return cls("/data/adb/nspawn")
        return cls("/var/lib/nspawn")

    @property
    def config(self) -> str:
        return f"{self.root}/config.toml"

    @property
    def token(self) -> str:
        return f"{self.root}/token"

    @property
    def containers(self) -> str:
        return f"{self.root}/containers"

    @property
    def images(self) -> str:
        return f"{self.root}/images"

    @property
    def backups(self) -> str:
        return f"{self.root}/backups"

    @property
    def run(self) -> str:
        return f"{self.root}/run"

    @property
    def control_socket(self) -> str:
        return f"{self.root}/run/control.sock"

    @property
    def spawner_log(self) -> str:
        return f"{self.root}/run/spawner.log"

    @property
    def purge(self) -> str:
        """There when a person has confirmed that an uninstallation shall delete all of this."""
        return f"{self.root}/purge-confirmed"

    @property
    def boot_record(self) -> str:
        """What the boot program has decided in this boot, as a record."""
        return f"{self.root}/run/boot"

    @property
    def network(self) -> str:
        """The network's own state: `prefix`, `slots/<number>`, `before`, `lock`."""
        return f"{self.root}/network"

    @property
    def network_state(self) -> str:
        """What was last made of the network in this boot, as a record."""
        return f"{self.root}/run/network"

    @property
    def network_users(self) -> str:
        """Locked, shared, by every process that needs the network to be there."""
        return f"{self.root}/run/network.users"

    @property
    def network_watch(self) -> str:
        """Locked by the one that keeps the network right while there is no spawner."""
        return f"{self.root}/run/network.watch"

    @property
    def stage(self) -> str:
        """An empty folder: each new container covers it, in its own mount namespace, with a tmpfs."""
        return f"{self.root}/run/stage"

    def container(self, name: str) -> str:
        return f"{self.root}/containers/{name}"

    def settings(self, name: str) -> str:
        return f"{self.root}/containers/{name}/container.toml"

    def rootfs(self, name: str) -> str:
        return f"{self.root}/containers/{name}/rootfs"

    def console_log(self, name: str) -> str:
        """The newer half of the console's ring; the older is beside it with `.1`."""
        return f"{self.root}/containers/{name}/console.log"

    def run_state(self, name: str) -> str:
        """What the spawner knows of a container, as a record."""
        return f"{self.root}/containers/{name}/state"


def phone(environ: Mapping[str, str], path: str) -> str:
    """Where a file of the phone (/data/media/0, /sys/power/wake_lock ...) is.

    NSPAWN_PHONE: the root of a fake phone; for tests on machines that have no such files.
    """
    return environ.get("NSPAWN_PHONE", "") + path


def on_android(environ: Mapping[str, str]) -> bool:
    """Android sets both variables for every process since init."""
    return bool(environ.get("ANDROID_ROOT")) and bool(environ.get("ANDROID_DATA"))
