#!/dev/.vm/busybox sh
# shellcheck shell=dash
# What stands for adb: runs one script after another, which come over a port of the virtual machine.
# A request is a line "LENGTH MARK" and the script; the answer is its output and a line "MARK STATUS".
# The script finds Android's environment, and TMPDIR, as adb's shell has them.
exec <>/dev/.vm/shell >&0 2>/dev/null
while read -r length mark; do
    head -c "$length" >/dev/.vm/script
    (
        cd / || exit
        [ ! -e /sys/fs/selinux/enforce ] || printf u:r:su:s0 >/proc/self/attr/current
        exec env -i HOME=/ USER=root LOGNAME=root SHELL=/system/bin/sh TERM=dumb HOSTNAME=localhost \
            TMPDIR=/data/local/tmp ENV= /system/bin/sh -c ". /system/fake/environment.sh; . /dev/.vm/script" \
            </dev/null 2>&1
    )
    printf '\n%s %d\n' "$mark" $?
done
