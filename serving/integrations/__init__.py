"""Speaks with labeling platforms, each in its own words: one module or package for each."""
