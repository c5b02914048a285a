# shellcheck shell=sh
# What customize.sh, service.sh, action.sh and uninstall.sh share; they read it with ".".
# The caller defines `say`, which shows one line. Names begin with "our_": customize.sh is read into the shell of
# a manager's installer, which has names of its own.

our_home=/data/adb/modules/nspawn
our_state=/data/adb/nspawn
our_commands="nspawn nspawn-mini getroot"

# Init sets both for everything on a phone; our commands know by them that they are on one.
export ANDROID_ROOT="${ANDROID_ROOT:-/system}" ANDROID_DATA="${ANDROID_DATA:-/data}"

# our_link FOLDER: KernelSU and APatch show no system/ of a module by themselves, but their shells have these
# folders in PATH. Both are looked at, because a phone may change its manager. A right link costs no process.
our_link() {
    for our_place in /data/adb/ksu/bin /data/adb/ap/bin; do
        [ -d "$our_place" ] || continue
        for our_command in $our_commands; do
            our_target=$1/$our_command
            # shellcheck disable=SC3013  # busybox, mksh and dash have -ef
            [ -h "$our_place/$our_command" ] && [ "$our_place/$our_command" -ef "$our_target" ] && continue
            if our_own "$our_place/$our_command"; then
                ln -sf "$our_target" "$our_place/$our_command" || say "$our_place/$our_command cannot be made"
            else
                say "$our_place/$our_command is not nspawn's: it is left alone. Ours: $our_target"
            fi
        done
    done
}

our_unlink() {
    for our_place in /data/adb/ksu/bin /data/adb/ap/bin; do
        for our_command in $our_commands; do
            [ -h "$our_place/$our_command" ] || continue
            our_own "$our_place/$our_command" && rm -f "$our_place/$our_command"
        done
    done
}

# our_own PATH: nothing is there, or a link into this module.
our_own() {
    [ -h "$1" ] || {
        [ ! -e "$1" ]
        return
    }
    case $(readlink "$1") in
    "$our_home"/*) return 0 ;;
    esac
    return 1
}

# our_folder MODULE: where the commands are: Magisk keeps system/bin, the others get bin.
# shellcheck disable=SC2034  # for the callers
our_folder() {
    if [ -e "$1/system/bin/nspawn" ]; then
        our_bin=$1/system/bin
    else
        our_bin=$1/bin
    fi
}

# our_running: whether the spawner listens. A file in run/ would be there after a power cut, too.
our_running() {
    grep -qs " $our_state/run/control.sock\$" /proc/net/unix
}

# our_mounted FOLDER: something is mounted there or below, or it cannot be told. Blanks are octal in
# mountinfo (proc(5)); our folders have none.
our_mounted() {
    for our_table in /proc/self/mountinfo /proc/1/mountinfo; do
        [ -r "$our_table" ] || return 0
        grep -q "^[^ ]* [^ ]* [^ ]* [^ ]* $1[/ ]" "$our_table" && return 0
    done
    return 1
}

# our_delete FOLDER: never through a mount: a phone's photos may be shown inside a container. The name is changed
# first, so that whatever still wants to mount there finds nothing; what is deleted is looked at once more. In the
# background, because uninstall.sh holds up the boot.
our_delete() {
    if [ -h "$1" ] || our_mounted "$1"; then
        say "$1 is not deleted: something is mounted in it"
        return 1
    fi
    our_gone=$our_state.deleted.$$
    case $1 in
    "$our_state".deleted.*) our_gone=$1 ;;
    *) mv "$1" "$our_gone" || return 1 ;;
    esac
    if our_mounted "$our_gone"; then
        say "$our_gone is not deleted: something is mounted in it"
        return 1
    fi
    # Two forks: nobody's child, not even of the service that service.sh becomes.
    (rm -rf "$our_gone" >/dev/null 2>&1 &)
}
