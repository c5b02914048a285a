# fake: the installer's second half, run by the manager's busybox ash.
# shellcheck shell=sh disable=SC2148
ui_print() {
    echo "$1"
}

abort() {
    ui_print "$1"
    rm -rf "$MODPATH" "$TMPDIR"
    exit 1
}

# Three commands for each file, as the real ones: that is why a module extracts by itself.
set_perm() {
    chown "$2:$3" "$1" || return 1
    chmod "$4" "$1" || return 1
    /system/bin/chcon "${5:-u:object_r:system_file:s0}" "$1"
}

set_perm_recursive() {
    find "$1" -type d | while read -r file; do set_perm "$file" "$2" "$3" "$4" "${6-}"; done
    find "$1" -type f -o -type l | while read -r file; do set_perm "$file" "$2" "$3" "$5" "${6-}"; done
}

unzip -o "$ZIPFILE" module.prop -d "$TMPDIR" >/dev/null 2>&1 || abort "! This is no module zip"
MODID=$(sed -n 's/^id=//p' "$TMPDIR/module.prop")
MODNAME=$(sed -n 's/^name=//p' "$TMPDIR/module.prop")
MODPATH=/data/adb/modules_update/$MODID
export MODPATH
installed=/data/adb/modules/$MODID
rm -rf "$MODPATH"
mkdir -p "$MODPATH"
chmod 755 "$MODPATH"
if [ -n "${KSU-}${APATCH-}" ]; then
    # ksud extracts everything before the script does; what busybox cannot unpack is ignored.  That ksud is native
    # makes no difference: of 1,500 files busybox, Info-ZIP and zlib in Python each take 0.3 to 0.4 s of processor
    # time, nearly all of it in inflate and in the kernel, which makes the files.
    unzip -o "$ZIPFILE" -d "$MODPATH" >/dev/null 2>&1
    cd "$MODPATH" || abort "! cannot enter $MODPATH"
fi
ui_print "- Installing $MODNAME"
unzip -o "$ZIPFILE" customize.sh -d "$MODPATH" >/dev/null 2>&1
if ! grep -q '^SKIPUNZIP=1$' "$MODPATH/customize.sh" 2>/dev/null; then
    unzip -o "$ZIPFILE" -x 'META-INF/*' -d "$MODPATH" >/dev/null 2>&1
    set_perm_recursive "$MODPATH" 0 0 0755 0644
    if [ -d "$MODPATH/system/bin" ]; then set_perm_recursive "$MODPATH/system/bin" 0 2000 0755 0755; fi
fi
# shellcheck disable=SC1091
if [ -f "$MODPATH/customize.sh" ]; then . "$MODPATH/customize.sh"; fi
rm -rf "$MODPATH/customize.sh" "$MODPATH/README.md" "$MODPATH"/.git*
mkdir -p "$installed"
touch "$installed/update"
rm -f "$installed/disable" "$installed/remove"
cp "$MODPATH/module.prop" "$installed/module.prop"
rm -rf "$TMPDIR"
ui_print "- Done"
