# fake: what the fakes share (sourced).
# shellcheck shell=sh disable=SC2034

# Properties: one file per name. properties_serial beside them is what a real program waits at.
PROPERTIES=/dev/__properties__/fake
BUSYBOX=/system/fake/busybox

# Tells the bench; for a property it then bumps properties_serial and wakes who waits there.
event() {
    if [ -p /dev/socket/fake_events ]; then echo "$*" >/dev/socket/fake_events; fi
}

property() {
    value=
    if [ -f "$PROPERTIES/$1" ]; then IFS= read -r value <"$PROPERTIES/$1"; fi
}

# Whole or not at all: a reader never sees half a value.
set_property() {
    echo "$2" >"$PROPERTIES/.$1.$$" && mv "$PROPERTIES/.$1.$$" "$PROPERTIES/$1" && event property "$1"
}

note() {
    echo "$*" >>/dev/fake.log
}
