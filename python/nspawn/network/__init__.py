"""Interfaces, routes and forwards of containers."""
