"""Installs and starts what prelabel is compared to, each in an environment of its own."""
