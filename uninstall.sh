#!/system/bin/sh
# The root manager runs this at the next boot, which waits for it, or (some) at once, while containers run.
# Containers and settings in /data/adb/nspawn stay, unless `nspawn uninstall --purge` was confirmed before.
umask 077

case $0 in
*/*) cd "${0%/*}" || exit 1 ;;
esac
MODDIR=$PWD
cd / || exit 1

# shellcheck source=share/module.sh
. "$MODDIR/share/module.sh"

say() {
    echo "nspawn: $1"
}

our_unlink

# At boot nothing runs yet, and no program is started to find out.
if our_running; then
    our_folder "$MODDIR"
    limit=
    command -v timeout >/dev/null 2>&1 && limit="timeout 30"
    # shellcheck disable=SC2086  # two words, or none
    $limit "$our_bin/nspawn" shutdown </dev/null
fi

if [ -f "$our_state/purge-confirmed" ]; then
    if our_running; then
        say "containers still run: $our_state is left as it is"
    else
        our_delete "$our_state"
    fi
fi
exit 0
