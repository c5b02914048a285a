#!/usr/bin/env python3
"""The one tool of this repository: `python3 build.py setup | run | test | bench | lint | lock`.

Every command first does `setup`: it installs what that command needs and is missing, pinned and checked by
hash, says what it does, and takes a moment when there is nothing to do. Standard library only.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import io
import lzma
import os
import platform
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

HOME = Path(__file__).resolve().parent
CACHE = HOME / ".cache"
STAMPS = CACHE / "setup"
VENV = HOME / ".venv"
PYTHON = VENV / "bin" / "python"
NSPAWN = HOME / "system" / "bin" / "nspawn"

OLDEST_PYTHON = (3, 11)
#: Debian's names by those of `uname -m`.
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
ARCHIVE = "http://deb.debian.org/debian"
SUITES = ("trixie", "bookworm")
PIP_TOOLS = "pip-tools==7.6.2"
#: Files of npm packages that the page ships: they are committed, so that running needs no npm.
VENDORED = {"htm-preact-standalone.js": "htm/preact/standalone.module.js"}


class BuildError(Exception):
    """Something that a person must do first. what: one line; hint: what to do next."""

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.hint = hint


@dataclass(frozen=True, kw_only=True)
class Package:
    """A Debian package. program: what proves that it is there (it may come from elsewhere)."""

    name: str
    program: str
    purpose: str
    commands: tuple[str, ...]


PACKAGES = tuple(
    Package(name=name, program=program, purpose=purpose, commands=tuple(commands.split()))
    for name, program, purpose, commands in (
        (
            "busybox-static",
            "busybox",
            "checks scripts, and is in the tests' smallest rootfs",
            "test lint bench",
        ),
        ("dash", "dash", "checks scripts", "test lint bench"),
        ("git", "git", "lists the files to check", "test lint"),
        ("mksh", "mksh", "checks scripts: it is Android's shell", "test lint"),
        ("nodejs", "node", "runs the page's checkers", "test lint"),
        ("npm", "npm", "installs the page's checkers", "test lint"),
        ("shellcheck", "shellcheck", "checks scripts", "test lint"),
        ("chromium", "chromium", "shows the page to the tests", "test"),
        ("curl", "curl", "talks to the page in tests", "test"),
        ("iproute2", "ip", "looks at networks from outside", "test bench"),
        ("mmdebstrap", "mmdebstrap", "builds the tests' Debian", "test bench"),
        ("procps", "ps", "looks at processes from outside", "test bench"),
        ("strace", "strace", "counts what a start does", "test"),
        ("tmux", "tmux", "is a real terminal", "test"),
        ("util-linux", "nsenter", "looks at mounts and namespaces from outside", "test bench"),
        ("xz-utils", "xz", "packs the tests' tarballs", "test bench"),
        ("zstd", "zstd", "packs the tests' tarballs", "test"),
        ("bubblewrap", "bwrap", "is compared with", "test bench"),
        ("crun", "crun", "is compared with", "test bench"),
        ("lxc", "lxc-execute", "is compared with", "bench"),
        ("runc", "runc", "is compared with", "bench"),
        ("systemd-container", "systemd-nspawn", "is compared with", "bench"),
    )
)


@dataclass(frozen=True, kw_only=True)
class Pin:
    """One line of debian.lock: a package file of Debian's archive."""

    package: str
    version: str
    architecture: str
    sha256: str
    place: str


# ---- small parts


def say(text: str) -> None:
    """One line of progress."""
    print(f"build.py: {text}", flush=True)


def command_line(words: Sequence[str | Path]) -> str:
    """The line that a person can paste."""
    return shlex.join(str(word) for word in words)


def execute(
    *words: str | Path,
    cwd: Path = HOME,
    env: Mapping[str, str] | None = None,
    show: bool = True,
    output: int | None = None,
) -> None:
    """Run a command; raises BuildError with the line to repeat when it fails.

    show: print the line. output: where its output goes (subprocess.DEVNULL), errors aside.
    """
    if show:
        print(f"+ {command_line(words)}", flush=True)
    try:
        status = subprocess.run([str(word) for word in words], cwd=cwd, env=env, stdout=output).returncode
    except OSError as error:
        raise BuildError(f"cannot start {words[0]}: {error.strerror}") from error
    if status:
        raise BuildError(f"status {status} from: {command_line(words)}")


def output_of(*words: str | Path, cwd: Path = HOME) -> str:
    """What a command prints; raises BuildError when it fails."""
    try:
        done = subprocess.run([str(word) for word in words], cwd=cwd, capture_output=True, text=True)
    except OSError as error:
        raise BuildError(f"cannot start {words[0]}: {error.strerror}") from error
    if done.returncode:
        raise BuildError(f"status {done.returncode} from: {command_line(words)}", done.stderr.strip())
    return done.stdout


def digest(*parts: bytes | str | Path) -> str:
    """The sha256 of texts and of files, in order."""
    total = hashlib.sha256()
    for part in parts:
        data = (
            part.read_bytes() if isinstance(part, Path) else part.encode() if isinstance(part, str) else part
        )
        total.update(hashlib.sha256(data).digest())
    return total.hexdigest()


def write_whole(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write a file so that nobody sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_bytes(data)
    part.chmod(mode)
    part.replace(path)


def is_stamped(part: str, value: str) -> bool:
    """Whether a part of setup was last done for these inputs."""
    try:
        return (STAMPS / part).read_text() == value
    except OSError:
        return False


def stamp(part: str, value: str) -> None:
    """Note that a part of setup is done."""
    write_whole(STAMPS / part, value.encode())


@contextlib.contextmanager
def only_one() -> Iterator[None]:
    """Setups of one checkout wait for each other."""
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "setup.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another setup of this checkout is at work: waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


# ---- Debian packages


def missing_packages(command: str, which: Callable[[str], str | None] = shutil.which) -> list[Package]:
    """What a command needs and this machine lacks."""
    return [package for package in PACKAGES if command in package.commands and not which(package.program)]


def install_packages(names: Mapping[str, str]) -> None:
    """Install Debian packages, each with its purpose. Raises BuildError without root or apt."""
    if not names:
        return
    line = f"apt-get install --no-install-recommends {' '.join(names)}"
    if not shutil.which("apt-get"):
        wanted = ", ".join(f"{name} ({why})" for name, why in names.items())
        raise BuildError(f"this machine has no apt-get, and misses: {wanted}", "Install them by hand.")
    if os.geteuid() != 0:
        raise BuildError(f"root is needed to install: {', '.join(names)}", f"As root, run: {line}")
    for name, why in names.items():
        say(f"installing Debian's {name}: {why}")
    env = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    try:
        execute("apt-get", "update", "-qq", env=env)
    except BuildError as error:
        # A broken third-party source must not stop us: what we need is in Debian's own.
        say(f"{error}; going on with the lists that are there")
    words = ("apt-get", "install", "-qq", "--yes", "--no-install-recommends", *names)
    execute(*words, env=env, output=subprocess.DEVNULL)


# ---- the Python environment


def base_python() -> str:
    """The interpreter that the environment is made from: Debian's own, or the one that runs this."""
    debian = "/usr/bin/python3"
    if os.access(debian, os.X_OK):
        version = output_of(debian, "-c", "import sys; print(*sys.version_info[:2])").split()
        if tuple(map(int, version)) >= OLDEST_PYTHON:
            return debian
    return sys.executable


def has_ensurepip(python: str) -> bool:
    """Debian keeps the parts that `venv` needs in a package of their own."""
    return subprocess.run([python, "-c", "import ensurepip, venv"], stderr=subprocess.DEVNULL).returncode == 0


def setup_environment(*, developer: bool) -> None:
    """Make .venv with run.lock (and dev.lock), anew when a lock or the interpreter changed."""
    run_lock, dev_lock = HOME / "requirements/run.lock", HOME / "requirements/dev.lock"
    python = base_python()
    run_state = digest(run_lock, os.path.realpath(python))
    dev_state = digest(dev_lock, run_lock, os.path.realpath(python))
    fresh = PYTHON.exists() and is_stamped("run", run_state)
    if fresh and (not developer or is_stamped("dev", dev_state)):
        return
    if fresh and not (STAMPS / "dev").exists():
        locks = [dev_lock]
    else:
        developer = developer or (STAMPS / "dev").exists()
        locks = [run_lock, dev_lock] if developer else [run_lock]
        (STAMPS / "run").unlink(missing_ok=True)
        if not has_ensurepip(python):
            install_packages({"python3-venv": "makes the private environment"})
        say(f"making {VENV.relative_to(HOME)} with {python}")
        execute(python, "-m", "venv", "--clear", VENV)
    (STAMPS / "dev").unlink(missing_ok=True)
    for lock in locks:
        say(f"installing the Python packages of {lock.relative_to(HOME)}")
        options = ("--quiet", "--disable-pip-version-check", "--no-input", "--only-binary=:all:")
        execute(PYTHON, "-m", "pip", "install", *options, "--no-deps", "--require-hashes", "-r", lock)
    stamp("run", run_state)
    if developer:
        stamp("dev", dev_state)


def compile_bytecode() -> None:
    """Byte code of our own modules: without it every start would compile them."""
    execute(PYTHON, "-m", "compileall", "-q", HOME / "python", show=False)


# ---- the page's libraries and checkers


def setup_node() -> None:
    """node_modules from package-lock.json (npm checks each file's integrity), no install scripts."""
    state = digest(HOME / "package-lock.json", platform.machine())
    if (HOME / "node_modules").is_dir() and is_stamped("node", state):
        return
    say("installing the npm packages of package-lock.json")
    execute("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
    stamp("node", state)


def vendored_differences() -> list[str]:
    """Committed files of npm packages that are not what npm gives."""
    found = []
    for name, source in VENDORED.items():
        ours, theirs = HOME / "webroot/vendor" / name, HOME / "node_modules" / source
        if not ours.exists() or ours.read_bytes() != theirs.read_bytes():
            found.append(f"webroot/vendor/{name} is not node_modules/{source}: run `build.py lock`")
    return found


# ---- the built-in rootfs


def read_pins(text: str, architecture: str) -> list[Pin]:
    """The lines of debian.lock for one architecture. Raises BuildError when a line is wrong."""
    pins = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split("#")[0].split()
        if not words:
            continue
        if len(words) != 5 or len(words[3]) != 64:
            raise BuildError(
                f"requirements/debian.lock:{number} is not: package version architecture sha256 place"
            )
        pin = Pin(package=words[0], version=words[1], architecture=words[2], sha256=words[3], place=words[4])
        if pin.architecture == architecture:
            pins.append(pin)
    return pins


def member_of_deb(deb: bytes, name: str) -> bytes:
    """A file of a .deb (an ar archive that holds data.tar.xz; man 5 deb). Raises BuildError without it."""
    if deb[:8] != b"!<arch>\n":
        raise BuildError("this is no Debian package")
    position = 8
    while position + 60 <= len(deb):
        header = deb[position : position + 60]
        size = int(header[48:58])
        content = deb[position + 60 : position + 60 + size]
        if header[:16].rstrip(b" /") == b"data.tar.xz":
            with tarfile.open(fileobj=io.BytesIO(lzma.decompress(content))) as archive:
                for member in archive:
                    file = archive.extractfile(member) if member.name.removeprefix("./") == name else None
                    if file:
                        return file.read()
        position += 60 + size + size % 2
    raise BuildError(f"this Debian package has no {name}")


def fetch(url: str) -> bytes | None:
    """What is at a URL, or None when it is not there. Raises BuildError when the network does not answer."""
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310 (ARCHIVE is http)
            data: bytes = answer.read()
            return data
    except urllib.error.HTTPError as error:
        if error.code in (404, 410):
            return None
        raise BuildError(f"{url}: {error}") from error
    except OSError as error:
        raise BuildError(f"{url}: {error}", "Is this machine online?") from error


def apt_download(package: str) -> bytes | None:
    """The package file that this machine's apt has and has verified, or None."""
    if not shutil.which("apt-get"):
        return None
    folder = CACHE / "apt"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    options = ("-qq", "-o", "APT::Sandbox::User=root") if os.geteuid() == 0 else ("-qq",)
    words = ["apt-get", *options, "download", package]
    done = subprocess.run(words, cwd=folder, capture_output=True)
    files = list(folder.glob("*.deb")) if done.returncode == 0 else []
    return files[0].read_bytes() if files else None


def download_deb(pins: Sequence[Pin]) -> tuple[bytes, str]:
    """A pinned package file and its version: from our cache, from this machine's apt, or from the archive."""
    for pin in pins:
        cached = CACHE / "debs" / Path(pin.place).name
        if cached.exists() and digest_of(cached.read_bytes()) == pin.sha256:
            return cached.read_bytes(), pin.version
    for pin in pins:
        data = apt_download(f"{pin.package}={pin.version}") or fetch(f"{ARCHIVE}/{pin.place}")
        if data is not None:
            if digest_of(data) != pin.sha256:
                raise BuildError(f"{pin.place} has another sha256 than requirements/debian.lock says")
            write_whole(CACHE / "debs" / Path(pin.place).name, data)
            return data, pin.version
        say(f"Debian no longer has {pin.package} {pin.version}")
    data = apt_download(pins[0].package)
    if data is None:
        raise BuildError(
            f"no pinned {pins[0].package} is to be had", "Run `build.py lock`, then commit the locks."
        )
    say(f"using this machine's own {pins[0].package}, which apt has verified: run `build.py lock` to pin it")
    return data, "unpinned"


def digest_of(data: bytes) -> str:
    """The plain sha256 of some bytes."""
    return hashlib.sha256(data).hexdigest()


def setup_builtin() -> None:
    """Put Debian's static busybox where the built-in rootfs is made from."""
    machine = platform.machine()
    architecture = ARCHITECTURES.get(machine)
    if architecture is None:
        say(f"no built-in rootfs for {machine}: there is one for {', '.join(ARCHITECTURES)}")
        return
    lock = HOME / "requirements/debian.lock"
    target = HOME / "share/builtin" / machine / "busybox"
    if target.exists() and is_stamped("builtin", digest(lock, target)):
        return
    pins = read_pins(lock.read_text(), architecture)
    say(f"fetching Debian's busybox-static for the built-in rootfs ({architecture})")
    deb, version = download_deb(pins)
    try:
        binary = member_of_deb(deb, "bin/busybox")
    except BuildError:
        binary = member_of_deb(deb, "usr/bin/busybox")
    write_whole(target, binary, 0o755)
    source = (
        f"Debian busybox-static {version} {architecture} (GPL-2): https://sources.debian.org/src/busybox/\n"
    )
    write_whole(target.with_name("SOURCE"), source.encode())
    stamp("builtin", digest(lock, target))


# ---- the commands


def setup(command: str) -> None:
    """What a command needs: `setup` and `run` want the program, the others their tools as well."""
    developer = command in ("test", "lint", "bench")
    with only_one():
        install_packages({package.name: package.purpose for package in missing_packages(command)})
        setup_environment(developer=developer)
        setup_builtin()
        if command in ("test", "lint"):
            setup_node()
        compile_bytecode()


def repository_files() -> list[str]:
    """Every file that is or would be committed."""
    listed = output_of("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    return sorted(name for name in set(listed) if name and (HOME / name).is_file())


def shell_files(names: Sequence[str], home: Path = HOME) -> tuple[list[str], list[str]]:
    """The POSIX sh files and the bash files among them, told by their first line or ending."""
    posix, bash = [], []
    for name in names:
        with (home / name).open("rb") as file:
            first = file.readline(80).rstrip()
        words = first[2:].split() if first.startswith(b"#!") else []
        program = Path(os.fsdecode(words[-1])).name if words else ""
        if program == "bash" or "bash-completion/" in name:
            bash.append(name)
        elif program in ("sh", "ash") or name.endswith(".sh"):
            posix.append(name)
    return posix, bash


def lint_checks(names: Sequence[str]) -> list[tuple[str, list[list[str]]]]:
    """Every check by its name: the commands that must all succeed."""
    tool = str(VENV / "bin") + "/"
    node = "node_modules/.bin/"
    posix, bash = shell_files(names)
    shells = ("busybox ash", "dash", "mksh")
    # Named, because left alone it would follow the links of a cached rootfs to the ends of this machine.
    configuration = [name for name in names if name.endswith(".json") and "/" not in name]
    configuration.remove("package-lock.json")
    return [
        ("ruff", [[tool + "ruff", "check", "--quiet", "."]]),
        ("format", [[tool + "ruff", "format", "--check", "--quiet", "."]]),
        ("mypy", [[tool + "mypy", "--no-error-summary"]]),
        ("imports", [[tool + "lint-imports", "--no-cache"]]),
        ("shellcheck", [["shellcheck", *posix, *bash]]),
        *((shell, [[*shell.split(), "-n", name] for name in posix]) for shell in shells),
        ("bash", [["bash", "-n", name] for name in bash]),
        ("biome", [[node + "biome", "ci", "--error-on-warnings", "--colors=off", "webroot", *configuration]]),
        ("tsc", [[node + "tsc", "--project", "tsconfig.json"]]),
        ("codespell", [[tool + "codespell", *names]]),
    ]


def lint() -> int:
    """Run all checks, then name those that failed. Returns 0 or 1."""
    failed = []
    env = dict(os.environ, PYTHONPATH=str(HOME / "python"))
    for name, commands in lint_checks(repository_files()):
        started = time.monotonic()
        done = [
            subprocess.run(
                words, cwd=HOME, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
            for words in commands
        ]
        wrong = [result.stdout.strip() for result in done if result.returncode]
        say(f"lint: {name}: {'FAILED' if wrong else 'good'} ({time.monotonic() - started:.1f} s)")
        if wrong:
            print("\n".join(wrong), flush=True)
            failed.append(name)
    differences = vendored_differences()
    if differences:
        print("\n".join(differences), flush=True)
        failed.append("vendored files")
    say(f"lint: failed: {', '.join(failed)}" if failed else "lint: all good")
    return 1 if failed else 0


def test(*, fast: bool, arguments: Sequence[str]) -> int:
    """Lint, then all tests; pytest's closing line comes last. Returns 0 only when both are good."""
    if os.geteuid() != 0:
        say("not root: the tests that start containers will be skipped")
    bad = lint()
    select = ["-m", "not slow"] if fast else []
    words = [str(PYTHON), "-m", "pytest", *select, *arguments]
    print(f"+ {command_line(words)}", flush=True)
    status = subprocess.run(words, cwd=HOME).returncode
    return status or bad


def bench(arguments: Sequence[str]) -> int:
    """Compare with the peers; writes docs/benchmark.md and docs/benchmark.json."""
    if os.geteuid() != 0:
        raise BuildError("the benchmark starts containers: it needs root", "Run: sudo python3 build.py bench")
    results = ["--output", "docs/benchmark.md", "--json", "docs/benchmark.json"]
    words = [str(PYTHON), "tests/bench/run.py", *results, *arguments]
    print(f"+ {command_line(words)}", flush=True)
    return subprocess.run(words, cwd=HOME).returncode


def answers(path: str) -> bool:
    """Whether somebody listens on a control socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as control:
        try:
            control.connect(path)
        except OSError:
            return False
    return True


def run(port: int | None) -> int:
    """Run the service in the foreground and print a login address. Returns the service's status."""
    if os.geteuid() != 0:
        raise BuildError("containers need root", "Run: sudo python3 build.py run")
    root = os.environ.setdefault("NSPAWN_ROOT", "/var/lib/nspawn")
    if answers(f"{root}/run/control.sock"):
        say(f"the service of {root} runs already (end it with `nspawn shutdown`); open this address:")
        return subprocess.run([NSPAWN, "login"]).returncode
    words = [str(NSPAWN), "serve", *(["--port", str(port)] if port is not None else [])]
    say(f"state is kept in {root}; Ctrl-C stops the containers in order and ends the service")
    print(f"+ {command_line(words)}", flush=True)
    service = subprocess.Popen(words)
    # The terminal sends Ctrl-C to the service too, which ends in its own time.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, _frame: service.send_signal(number))
    deadline = time.monotonic() + 20
    while service.poll() is None and time.monotonic() < deadline:
        if answers(f"{root}/run/control.sock"):
            say("open this address in a browser (it works once, for a minute; `nspawn login` makes another):")
            subprocess.run([NSPAWN, "login"])
            break
        time.sleep(0.05)
    return service.wait()


def lock() -> int:
    """Renew every lock file: newest versions, hashes of all their files. Needs the network."""
    tools = CACHE / "pip-tools"
    execute(base_python(), "-m", "venv", "--clear", tools)
    execute(tools / "bin/pip", "install", "--quiet", PIP_TOOLS)
    options = (
        "--quiet --upgrade --generate-hashes --strip-extras --no-header --no-emit-options --no-emit-index-url"
    )
    for name in ("run", "dev"):
        words = (*options.split(), "--no-emit-find-links", "-o", f"{name}.lock", f"{name}.in")
        execute(tools / "bin/pip-compile", *words, cwd=HOME / "requirements")
    execute("npm", "install", "--package-lock-only", "--ignore-scripts", "--no-audit", "--no-fund")
    with only_one():
        setup_node()
    for name, source in VENDORED.items():
        write_whole(HOME / "webroot/vendor" / name, (HOME / "node_modules" / source).read_bytes())
    lock_debian()
    return 0


def lock_debian() -> None:
    """Renew debian.lock from the archive's signed lists, by an apt that knows nothing of this machine."""
    path = HOME / "requirements/debian.lock"
    head = [line for line in path.read_text().splitlines() if line.startswith("#")]
    lines = []
    for suite in SUITES:
        for architecture in ARCHITECTURES.values():
            folder = CACHE / "lock" / suite / architecture
            (folder / "lists/partial").mkdir(parents=True, exist_ok=True)
            (folder / "archives/partial").mkdir(parents=True, exist_ok=True)
            (folder / "status").touch()
            signed = "signed-by=/usr/share/keyrings/debian-archive-keyring.gpg"
            (folder / "sources.list").write_text(f"deb [{signed}] {ARCHIVE} {suite} main\n")
            settings = {
                "Dir::State::Lists": folder / "lists",
                "Dir::State::status": folder / "status",
                "Dir::Cache": folder,
                "Dir::Etc::SourceList": folder / "sources.list",
                "Dir::Etc::SourceParts": "/dev/null",
                "APT::Architecture": architecture,
                "APT::Architectures": architecture,
                "APT::Sandbox::User": "root",
            }
            options = [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]
            execute("apt-get", *options, "update", "-qq")
            shown = output_of("apt-cache", *options, "show", "--no-all-versions", "busybox-static")
            fields = dict(
                line.split(": ", 1) for line in shown.splitlines() if line[:1].isalpha() and ": " in line
            )
            words = (fields["Package"], fields["Version"], architecture, fields["SHA256"], fields["Filename"])
            lines.append(" ".join(words))
    write_whole(path, "\n".join([*head, *lines, ""]).encode())


def parse(arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """The command line, and the words that go to pytest or to the benchmark."""
    parser = argparse.ArgumentParser(prog="build.py", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("setup", help="install what the program needs")
    run_parser = commands.add_parser("run", help="run the service and print a login address")
    run_parser.add_argument("--port", type=int, help="where the page is served (default 8080)")
    test_parser = commands.add_parser("test", help="lint, then every test; other words go to pytest")
    test_parser.add_argument("--fast", action="store_true", help="leave out the tests marked slow")
    commands.add_parser("bench", help="compare with the peers; other words go to tests/bench/run.py")
    commands.add_parser("lint", help="style, types, import contract, scripts, page, spelling")
    commands.add_parser("lock", help="renew every lock file")
    known, rest = parser.parse_known_args(arguments)
    if rest and known.command not in ("test", "bench"):
        parser.error(f"unknown words: {' '.join(rest)}")
    return known, [word for word in rest if word != "--"]


def main(arguments: Sequence[str]) -> int:
    """Do a command. Returns the exit status."""
    options, rest = parse(arguments)
    try:
        if options.command == "lock":
            return lock()
        started = time.monotonic()
        setup(options.command)
        if options.command == "setup":
            say(f"ready ({time.monotonic() - started:.1f} s): {NSPAWN}")
            return 0
        if options.command == "run":
            return run(options.port)
        if options.command == "lint":
            return lint()
        if options.command == "bench":
            return bench(rest)
        return test(fast=options.fast, arguments=rest)
    except PermissionError as error:
        print(f"build.py: {error}", file=sys.stderr)
        print("  Root made it, it seems: go on with sudo.", file=sys.stderr)
        return 1
    except BuildError as error:
        print(f"build.py: {error}", file=sys.stderr)
        if error.hint:
            print(f"  {error.hint}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    if sys.version_info < OLDEST_PYTHON:
        sys.exit("build.py: this needs Python 3.11 or newer")
    sys.exit(main(sys.argv[1:]))
