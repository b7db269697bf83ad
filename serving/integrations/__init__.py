"""Speaks the protocols of labeling platforms: one file or package for each."""
