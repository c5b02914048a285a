#!/system/bin/sh
# The root manager runs this at each boot, beside it. Starts the service in the background and waits for nothing.
# May run again while the service lives (soft reboot): the service's lock decides.

# KernelSU and APatch run scripts with umask 0.
umask 077

case $0 in
*/*) cd "${0%/*}" || exit 1 ;;
esac
MODDIR=$PWD
cd / || exit 1

if [ -e "$MODDIR/disable" ] || [ -e "$MODDIR/remove" ]; then
    exit 0
fi

# shellcheck source=share/module.sh
. "$MODDIR/share/module.sh"

say() {
    echo "service.sh: $1"
}

# Into the root groups: Android ends the group of the app whose button ran us together with the app, and a group of
# the background is slow, or frozen. Zero stands for the process that writes.
leave_groups() {
    for group in /sys/fs/cgroup /acct /dev/cg2_bpf /dev/memcg /dev/cpuctl /dev/cpuset \
        /dev/blkio /dev/freezer /dev/stune /sys/fs/cgroup/freezer; do
        if [ -w "$group/cgroup.procs" ]; then
            echo 0 >"$group/cgroup.procs"
        fi
    done 2>/dev/null
}

service() {
    leave_groups
    # Written in append mode by a service that may live already: emptied, never replaced.
    if [ "$(wc -c <"$log")" -gt 262144 ]; then
        tail -c 65536 "$log" >"$log.1"
        : >"$log"
    fi
    our_folder "$MODDIR"
    our_link "$our_bin"
    # Whoever removes the module after all of this confirms the deletion of the containers anew.
    [ -e "$our_state/purge-confirmed" ] && rm -f "$our_state/purge-confirmed"
    for left in "$our_state".deleted.*; do
        [ -d "$left" ] && our_delete "$left"
    done

    zone=$(/system/bin/getprop persist.sys.timezone 2>/dev/null)
    zones=$MODDIR/share/zoneinfo
    [ -d "$zones" ] || zones=
    authorities=$MODDIR/python/lib/python3.13/site-packages/certifi/cacert.pem
    [ -f "$authorities" ] || authorities=

    # Android's own folders before the manager's: its busybox answers to the names of Android's tools.
    path=/product/bin:/apex/com.android.runtime/bin:/apex/com.android.art/bin:/system_ext/bin:/system/bin
    path=$path:/system/xbin:/odm/bin:/vendor/bin:/vendor/xbin:/data/adb/magisk:/data/adb/ksu/bin:/data/adb/ap/bin

    # Nothing of the manager's environment but Android's own names, which its tools need.
    exec setsid env -i \
        "PATH=$path" \
        "HOME=$our_state" \
        "TMPDIR=$our_state/run/tmp" \
        LANG=C.UTF-8 \
        "ANDROID_ROOT=$ANDROID_ROOT" \
        "ANDROID_DATA=$ANDROID_DATA" \
        ${ANDROID_STORAGE:+"ANDROID_STORAGE=$ANDROID_STORAGE"} \
        ${ANDROID_ART_ROOT:+"ANDROID_ART_ROOT=$ANDROID_ART_ROOT"} \
        ${ANDROID_I18N_ROOT:+"ANDROID_I18N_ROOT=$ANDROID_I18N_ROOT"} \
        ${ANDROID_TZDATA_ROOT:+"ANDROID_TZDATA_ROOT=$ANDROID_TZDATA_ROOT"} \
        ${zone:+"TZ=$zone"} \
        ${zones:+"TZDIR=$zones"} \
        ${authorities:+"SSL_CERT_FILE=$authorities"} \
        "NSPAWN_MODULE=$MODDIR" \
        "$our_bin/nspawn" serve --boot
}

log=$our_state/run/service.log
[ -d "$our_state/run/tmp" ] || mkdir -p "$our_state/run/tmp" || exit 1
# A full disk costs the log, not the service.
true 2>/dev/null >>"$log" || log=/dev/null
service </dev/null >>"$log" 2>&1 &
exit 0
