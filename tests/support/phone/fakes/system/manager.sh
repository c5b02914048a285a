# fake: the places and the environment of each root manager (sourced; `manager` says which).
# shellcheck shell=sh disable=SC2034,SC2148
case $manager in
magisk)
    manager_path=/debug_ramdisk
    manager_busybox=/debug_ramdisk/.magisk/busybox/busybox
    ;;
ksu)
    manager_path=/data/adb/ksu/bin
    manager_busybox=$manager_path/busybox
    export KSU=true KSU_VER=v3.2.5 KSU_VER_CODE=32500 KSU_KERNEL_VER_CODE=32500
    ;;
apatch)
    manager_path=/data/adb/ap/bin
    manager_busybox=$manager_path/busybox
    export APATCH=true APATCH_VER=11142 APATCH_VER_CODE=11142 KERNELPATCH=true KERNELPATCH_VERSION=c03
    ;;
*) return 1 ;;
esac

answer() {
    echo "#!/system/bin/sh
# fake
case \$1 in $2 esac" >"$1"
    chmod 755 "$1"
}

# What the manager puts down at every boot.
manager_setup() {
    case $manager in
    magisk)
        /system/bin/mount -t tmpfs -o mode=755 magisk /debug_ramdisk
        mkdir -p /debug_ramdisk/.magisk/busybox /debug_ramdisk/bin /data/adb/magisk
        cp "$BUSYBOX" "$manager_busybox"
        [ -f /data/adb/magisk/busybox ] || cp "$BUSYBOX" /data/adb/magisk/busybox
        cp /system/fake/resetprop /debug_ramdisk/bin/resetprop
        answer /debug_ramdisk/bin/magisk '-v) echo 30.7:MAGISK:R ;; -V) echo 30700 ;; --path) echo /debug_ramdisk ;;'
        ln -s bin/magisk /debug_ramdisk/magisk
        ln -s bin/resetprop /debug_ramdisk/resetprop
        ;;
    ksu)
        mkdir -p /data/adb/ksu/bin
        [ -f "$manager_busybox" ] || cp "$BUSYBOX" "$manager_busybox"
        cp /system/fake/resetprop /data/adb/ksu/bin/resetprop
        answer /data/adb/ksud '-V | --version) echo ksud 3.2.5 ;;'
        ln -sf /data/adb/ksud /data/adb/ksu/bin/ksud
        ;;
    apatch)
        mkdir -p /data/adb/ap/bin
        [ -f "$manager_busybox" ] || cp "$BUSYBOX" "$manager_busybox"
        cp /system/fake/resetprop /data/adb/ap/bin/resetprop
        answer /data/adb/apd '-V | --version) echo apd 11142 ;;'
        ;;
    esac
    chmod 755 "$manager_busybox"
}
