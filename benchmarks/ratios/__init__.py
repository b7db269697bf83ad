"""Compares prelabel with its peers: one file for each comparison, each with ``measure(quick)``."""
