#!/dev/.vm/busybox sh
# shellcheck shell=dash
# In the virtual phone's own root: the test's shell, then Android's init.
/dev/.vm/agent </dev/null >/dev/null 2>&1 &
[ -e /system/bin/init ] || while :; do sleep 100; done; exec /init >/dev/.vm/init.log 2>&1
