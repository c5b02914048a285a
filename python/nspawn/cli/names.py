"""The words that `nspawn` takes as subcommands, and what each does; any other first word is a rootfs.

No imports: `nspawn ROOTFS COMMAND` reads this.
"""

SUBCOMMANDS = {
    "create": "Make a container",
    "start": "Start a container, and the spawner when there is none",
    "stop": "End a container in order",
    "restart": "Stop and start a container",
    "kill": "Send a signal to a container's first process",
    "freeze": "Take the processor from a container until it is thawed",
    "thaw": "Let a frozen container go on",
    "list": "Show all containers",
    "info": "Show one container: its state and settings",
    "exec": "Run a command in a running container",
    "shell": "Open a shell in a running container",
    "console": "Show a container's console and type on it; Ctrl-] three times leaves it",
    "logs": "Show what a container wrote to its console",
    "set": "Change settings; they count from the next start on",
    "net": "Show where containers' traffic goes, and why; or take their network down",
    "clone": "Make a copy of a container, with a name and an identity of its own",
    "export": "Write a container into an archive: its files and its settings",
    "import": "Make a container of an archive that `nspawn export` wrote",
    "rename": "Give a stopped container another name",
    "rm": "Remove a stopped container; a rootfs given by --rootfs is left alone",
    "image": "Look for images, and look after those that are kept",
    "boot": "Start all containers that are marked autostart",
    "doctor": "Show what this machine can do for containers, and what it lacks",
    "guard": "Show why no container starts after a crash of the machine, and decide",
    "serve": "Run the spawner and the page in the foreground",
    "shutdown": "Stop all containers in order, and the spawner",
    "login": "Show an address that opens the page, valid once, for a minute",
    "uninstall": "Remove the module at the next reboot; containers and settings stay, or go with --purge",
    "token": "Show the token of the page",
}
