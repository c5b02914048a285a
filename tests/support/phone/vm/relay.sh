#!/dev/.vm/busybox sh
# shellcheck shell=dash
# What stands for `adb forward`: the page listens on the phone's loopback, where qemu's network does not reach.
exec nc 127.0.0.1 8080
