#!/system/bin/sh
# The module's button in the manager: how things are, the service started if it is not, and the page opened.
# The address holds a code that logs in: it is shown to nobody but the browser.
umask 077

case $0 in
*/*) cd "${0%/*}" || exit 1 ;;
esac
MODDIR=$PWD
cd / || exit 1

# shellcheck source=share/module.sh
. "$MODDIR/share/module.sh"

say() {
    echo "$1"
}

if [ -e "$MODDIR/disable" ] || [ -e "$MODDIR/remove" ]; then
    say "The module is disabled. Enable it in the manager and reboot."
    exit 1
fi
our_folder "$MODDIR"
nspawn=$our_bin/nspawn
if [ -e "$MODDIR/update" ]; then
    say "Another version is installed: it counts from the next reboot on."
fi

if our_running; then
    say "The service is running."
else
    say "The service was not running. Starting it ..."
    sh "$MODDIR/service.sh"
    # A person waits here: this long, and only now.
    left=50
    until our_running || [ "$left" -eq 0 ]; do
        left=$((left - 1))
        sleep 0.1
    done
    if our_running; then
        say "The service is running now."
    else
        say "The service did not start. The last of $our_state/run/service.log:"
        tail -n 5 "$our_state/run/service.log"
        exit 1
    fi
fi

"$nspawn" list
# Status 1: the crash guard holds the containers back. It says why, and what can be done.
told=$("$nspawn" guard) || say "$told"

# `nspawn login` makes a code only when the port is ours. By the name that people type: a login counts for that.
link=$("$nspawn" login --localhost) || exit 1
page=${link%%/login*}
# What am prints may hold the address.
if answer=$(/system/bin/am start -a android.intent.action.VIEW -d "$link" 2>&1); then
    case $answer in
    *Error* | *Exception*) ;;
    *)
        say "$page is opened in the browser."
        exit 0
        ;;
    esac
fi
say "No browser could be opened. Open $page and log in with the token that this shows: su -c nspawn token"
exit 1
