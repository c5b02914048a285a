"""What the phone's bundle leaves out of Python's library and of the wheels: data only."""

from __future__ import annotations

import re

#: Of lib/python3.13. Folders end in a slash.
LIBRARY = (
    # For developing, for other systems, for teaching.
    "test/ idlelib/ tkinter/ turtledemo/ lib2to3/ ensurepip/ venv/ pydoc_data/ __phello__/ _pyrepl/",
    "config-3.13*/",
    "pydoc.py doctest.py pdb.py bdb.py trace.py tracemalloc.py profile.py cProfile.py pstats.py timeit.py",
    "pickletools.py pyclbr.py modulefinder.py tabnanny.py symtable.py rlcompleter.py zipapp.py",
    "turtle.py this.py antigravity.py __hello__.py EXTERNALLY-MANAGED sitecustomize.py LICENSE.txt",
    "_aix_support.py _android_support.py _apple_support.py _ios_support.py _osx_support.py",
    "_distutils_system_mod.py asyncio/windows_*.py multiprocessing/popen_spawn_win32.py",
    "encodings/mbcs.py encodings/oem.py",
    # Servers, clients and formats that nothing here speaks.
    "xmlrpc/ wsgiref/ dbm/ curses/ mailbox.py webbrowser.py imaplib.py poplib.py ftplib.py smtplib.py",
    "wave.py shelve.py xml/ plistlib.py sqlite3/ lib-dynload/_sqlite3*",
    # Python versions of what is there in C.
    "_pydecimal.py _pyio.py",
    # Terminals, profilers, encodings of East Asia (450 kB), tests.
    "lib-dynload/_curses* lib-dynload/readline* lib-dynload/_dbm* lib-dynload/_gdbm* lib-dynload/_lsprof*",
    "lib-dynload/_codecs_* lib-dynload/_uuid* lib-dynload/_test* lib-dynload/_ctypes_test*",
    "lib-dynload/_xxtest* lib-dynload/xx*",
    "encodings/big5*.py encodings/cp932.py encodings/cp949.py encodings/cp950.py encodings/euc_*.py",
    "encodings/gb*.py encodings/hz.py encodings/iso2022_*.py encodings/johab.py encodings/shift_jis*.py",
)

#: Of site-packages.
WHEELS = (
    "*.dist-info/ bin/ **/*.pyi **/py.typed **/*.so **/*.c **/tests/",
    # What only a debugger's page, a browser's Python and tests use; a DHCP client that is not ours.
    "werkzeug/debug/shared/ werkzeug/middleware/profiler.py flask/testing.py click/testing.py",
    "click/_winconsole.py urllib3/contrib/emscripten/",
    # Of pyroute2 only the classes of rtnetlink's messages are used (kernel/rtnl.py), never its sockets.
    "pyroute2/bsd/ pyroute2/decoder/ pyroute2/dhcp/ pyroute2/ethtool/ pyroute2/ext/ pyroute2/fixtures/",
    "pyroute2/inotify/ pyroute2/ipdb/ pyroute2/iproute/ pyroute2/ndb/ pyroute2/netns/ pyroute2/nftables/",
    "pyroute2/nslink/ pyroute2/plan9/ pyroute2/protocols/ pyroute2/requests/ pyroute2/wirouting/",
)

#: Of lib/python3.13: what makes docstrings from docstrings when it is imported.
DOCUMENTED = ("email/_policybase.py", "email/policy.py")


def pattern(texts: tuple[str, ...]) -> re.Pattern[str]:
    """One expression for all the names: `*` is anything but a slash, `**/` any folders or none.

    A trailing slash stands for all of the folder.
    """
    words = [re.escape(word) for text in texts for word in text.split()]
    names = [word.replace(r"\*\*/", "(?:.*/)?").replace(r"\*", "[^/]*") for word in words]
    names = [f"{name}.*" if name.endswith("/") else name for name in names]
    return re.compile("|".join(names))


_LIBRARY, _WHEELS = pattern(LIBRARY), pattern(WHEELS)


def keeps_of_library(name: str) -> bool:
    """Whether a file of lib/python3.13 goes into the bundle."""
    return not _LIBRARY.fullmatch(name)


def keeps_of_wheel(name: str) -> bool:
    """Whether a file of a wheel does."""
    return not _WHEELS.fullmatch(name)
