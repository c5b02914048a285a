#!/bin/sh
# A container start as a shell writes it: one program per step. Made for comparison only.
#   steps.sh [--no-cgroup] ROOTFS COMMAND...
# The same namespaces, cgroup, mounts, nodes, masks and files as `nspawn ROOTFS COMMAND...`.
set -eu

case $1 in
--inside) ;;
--no-cgroup)
    shift
    [ "$(id -u)" = 0 ] && [ -d "$1" ]
    exec unshare --mount --pid --fork --ipc --uts --cgroup --time --propagation slave "$0" --inside "$@"
    ;;
*)
    [ "$(id -u)" = 0 ] && [ -d "$1" ]
    group=/sys/fs/cgroup/steps-$$
    mkdir "$group"
    status=0
    (
        echo 0 >"$group/cgroup.procs"
        exec unshare --mount --pid --fork --ipc --uts --cgroup --time --propagation slave "$0" --inside "$@"
    ) || status=$?
    rmdir "$group"
    exit $status
    ;;
esac
shift
root=$1
shift
name=$(basename "$root" | tr _ -)

hostname "$name"
if [ "$(cat "$root/etc/hostname")" != "$name" ]; then
    echo "$name" >"$root/etc/hostname"
fi
grep -q "127.0.1.1[[:space:]]*$name" "$root/etc/hosts" || echo "127.0.1.1 $name" >>"$root/etc/hosts"

mount --bind "$root" "$root"
mount --make-private "$root"
mount -o remount,bind,suid,dev "$root"
mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs "$root/sys"
mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o nosuid,nodev tmpfs "$root/tmp"
mount -t tmpfs -o nosuid,nodev,mode=755 tmpfs "$root/run"
mount -t tmpfs -o noexec,strictatime,mode=755 tmpfs "$root/dev"
mkdir "$root/dev/pts" "$root/dev/shm" "$root/dev/mqueue" "$root/dev/net"
mount -t tmpfs -o nosuid,nodev,noexec,mode=1777,size=512m shm "$root/dev/shm"
mount -t mqueue -o nosuid,nodev,noexec mqueue "$root/dev/mqueue"
mount -t devpts -o nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5 devpts "$root/dev/pts"

mknod -m 666 "$root/dev/null" c 1 3
mknod -m 666 "$root/dev/zero" c 1 5
mknod -m 666 "$root/dev/full" c 1 7
mknod -m 666 "$root/dev/tty" c 5 0
mknod -m 666 "$root/dev/fuse" c 10 229
mknod -m 666 "$root/dev/random" c 1 8
mknod -m 666 "$root/dev/urandom" c 1 9
mknod -m 620 "$root/dev/console" c 5 1
mknod -m 666 "$root/dev/net/tun" c 10 200
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
ln -s /proc/self/fd/0 "$root/dev/stdin"
ln -s /proc/self/fd/1 "$root/dev/stdout"
ln -s /proc/self/fd/2 "$root/dev/stderr"

for path in /proc/asound /proc/sched_debug /proc/scsi /proc/keys /proc/timer_list /proc/kmsg \
    /sys/firmware /sys/power /sys/class/drm; do
    if [ -d "$root$path" ]; then
        mount -t tmpfs -o ro,nosuid,nodev,noexec,size=0 tmpfs "$root$path"
    elif [ -e "$root$path" ]; then
        mount --bind /dev/null "$root$path"
    fi
done
for path in /proc/bus /proc/fs /proc/irq /proc/sysrq-trigger; do
    if [ -e "$root$path" ]; then
        mount --bind "$root$path" "$root$path"
        mount -o remount,bind,ro "$root$path"
    fi
done

# The old root is stacked on the new one and taken off it; from pivot_root on, programs are the rootfs's own.
cd "$root"
pivot_root . .
umount -l .
cd /root
exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \
    TERM=xterm-256color container=nspawn "$@"
