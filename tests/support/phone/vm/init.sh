#!/bin/busybox sh
# shellcheck shell=dash
# The virtual phone's first process, in its initramfs: drivers, disks, device nodes, then the phone's own init.
# Busybox finds its own commands through /proc/self/exe: there is nothing else here.

/bin/busybox mount -t proc -o nosuid,nodev,noexec,hidepid=2,gid=3009 proc /proc
mount -t sysfs -o nosuid,nodev,noexec sysfs /sys
mount -t devtmpfs devtmpfs /dev
exec </dev/console >/dev/console 2>&1

while read -r module; do
    insmod "/modules/$module.ko" || echo "init: $module cannot be loaded"
done </order

# Android's init loads the policy before anything else is mounted.
context=
if [ -e /policy ] && mount -t selinuxfs selinuxfs /sys/fs/selinux; then
    dd if=/policy of=/sys/fs/selinux/load bs=4M 2>/dev/null || echo "init: the SELinux policy is refused"
    printf u:r:init:s0 >/proc/self/attr/current
    echo 1 >/sys/fs/selinux/enforce
    context=,context=u:object_r:system_file:s0
fi

# A disk is known by its serial number: what it is on a phone.
disk() {
    for block in /sys/block/vd*; do
        [ "$(cat "$block/serial")" != "$1" ] || echo "${block##*/}"
    done
}
mount -t ext4 -o "ro$context" "/dev/$(disk system)" /newroot || exec poweroff -f

mount -t tmpfs -o nosuid,mode=0755 tmpfs /newroot/dev
cd /newroot/dev || exec poweroff -f
node() { mknod -m "$2" "$1" "$3" "$4" "$5"; }
node null 666 c 1 3
node zero 666 c 1 5
node full 666 c 1 7
node random 666 c 1 8
node urandom 666 c 1 9
node kmsg 600 c 1 11
node tty 666 c 5 0
node console 600 c 5 1
node fuse 666 c 10 229
node tun 660 c 10 200
node loop-control 600 c 10 237
mkdir -p block/by-name pts socket .vm
mount -t devpts -o nosuid,noexec,mode=600,ptmxmode=666 devpts pts
ln -s /dev/pts/ptmx ptmx
for block in /sys/class/block/*; do
    IFS=: read -r major minor <"$block/dev"
    node "block/${block##*/}" 600 b "$major" "$minor"
done
for name in system userdata media; do
    ln -s "/dev/block/$(disk "$name")" "block/by-name/$name"
done
for port in /sys/class/virtio-ports/*; do
    IFS=: read -r major minor <"$port/dev"
    node .vm/shell 600 c "$major" "$minor"
done
cp /bin/busybox /agent /relay /start .vm/
cd / || exit

ip link set eth0 name wlan0
# The filter, when there is one, is for every process of the phone.
filter=
if [ -e /filter ]; then
    cp /filter /newroot/dev/.vm/filter
    filter=/dev/.vm/filter
fi
mount --move /proc /newroot/proc
/bin/busybox mount --move /sys /newroot/sys
/bin/busybox umount -l /dev
# shellcheck disable=SC2086
exec /bin/busybox switch_root /newroot $filter /dev/.vm/start </newroot/dev/null
