"""Lock files: newest versions with the hashes of all their files."""

from __future__ import annotations

from tools import places
from tools.debian import ARCHIVE
from tools.environment import base_python
from tools.node import VENDORED, setup_node
from tools.process import execute, output_of
from tools.stamps import only_one, write_whole

PIP_TOOLS = "pip-tools==7.6.2"

SUITES = ("trixie", "bookworm")


def lock() -> int:
    """Renew every lock file: newest versions, hashes of all their files. Needs the network."""
    tools = places.CACHE / "pip-tools"
    execute(base_python(), "-m", "venv", "--clear", tools)
    execute(tools / "bin/pip", "install", "--quiet", PIP_TOOLS)
    options = (
        "--quiet --upgrade --generate-hashes --strip-extras --no-header --no-emit-options --no-emit-index-url"
    )
    for name in ("run", "dev"):
        words = (*options.split(), "--no-emit-find-links", "-o", f"{name}.lock", f"{name}.in")
        execute(tools / "bin/pip-compile", *words, cwd=places.HOME / "requirements")
    execute("npm", "install", "--package-lock-only", "--ignore-scripts", "--no-audit", "--no-fund")
    with only_one():
        setup_node()
    for name, source in VENDORED.items():
        write_whole(
            places.HOME / "webroot/vendor" / name, (places.HOME / "node_modules" / source).read_bytes()
        )
    lock_debian()
    return 0


def lock_debian() -> None:
    """Renew debian.lock from the archive's signed lists, by an apt that knows nothing of this machine."""
    path = places.HOME / "requirements/debian.lock"
    head = [line for line in path.read_text().splitlines() if line.startswith("#")]
    lines = []
    for suite in SUITES:
        for architecture in places.ARCHITECTURES.values():
            folder = places.CACHE / "lock" / suite / architecture
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
