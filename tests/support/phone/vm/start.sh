#!/dev/.vm/busybox sh
# shellcheck shell=dash
# In the virtual phone's own root: the test's shell, and its way to the page, then Android's init.
/dev/.vm/agent </dev/null >/dev/null 2>&1 &
nc -ll -p 18080 -e /dev/.vm/relay </dev/null >/dev/null 2>&1 &
exec /init </dev/null >/dev/.vm/init.log 2>&1
