"""A module that does nothing but tell how it was called: for the tests of the bench itself."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

#: Where its scripts write: one file per script.
TOLD = "/data/local/tmp"

_TELL = """\
{{
    echo "umask $(umask)"
    echo "cwd $PWD"
    echo "stdin $(readlink /proc/self/fd/0)"
    echo "completed $(getprop sys.boot_completed)"
    sed -n 's/^SigIgn:./SigIgn /p' /proc/self/status
    env
}} >{told}/{name}
"""

FILES = {
    "module.prop": "id=stub\nname=Stub\nversion=1\nversionCode=1\nauthor=tests\ndescription=tells\n",
    "META-INF/com/google/android/updater-script": "#MAGISK\n",
    "service.sh": _TELL.format(told=TOLD, name="service"),
    "boot-completed.sh": _TELL.format(told=TOLD, name="boot-completed"),
    "uninstall.sh": _TELL.format(told=TOLD, name="uninstall"),
    "system/bin/stub": "#!/system/bin/sh\necho stub\n",
}
CUSTOMIZE = f"""\
SKIPUNZIP=1
ui_print "hello"
unzip -o "$ZIPFILE" -x 'META-INF/*' -d "$MODPATH" >/dev/null || abort "damaged"
set_perm_recursive "$MODPATH" 0 0 0755 0644
set_perm "$MODPATH/system/bin/stub" 0 2000 0755
{_TELL.format(told=TOLD, name="customize")}
echo "MODPATH $MODPATH ARCH $ARCH API $API" >>{TOLD}/customize
"""


def write(path: Path, changes: Mapping[str, str | None] | None = None) -> Path:
    """The zip.  changes: other contents of files, None for a file that is left out."""
    files: dict[str, str | None] = {**FILES, "customize.sh": CUSTOMIZE, **(changes or {})}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            if text is not None:
                archive.writestr(name, text)
    return path
