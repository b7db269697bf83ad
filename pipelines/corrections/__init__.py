"""Says what a human changed in a pre-label, and whether it was acceptable as it stood."""
