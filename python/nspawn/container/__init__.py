"""Running containers: start, console, attach, keeper and spawner."""
