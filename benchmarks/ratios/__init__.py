"""Holds one file per comparison with a peer; each has a ``measure`` that gives a Ratio."""
