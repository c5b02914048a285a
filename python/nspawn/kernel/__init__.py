"""The only place with ctypes, cgroup files, /proc and other programs."""
