"""Compares prelabel with its peers: one file for each comparison, each with a ``measure`` that gives a Ratio."""
