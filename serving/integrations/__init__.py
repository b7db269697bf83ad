"""Connects labeling platforms to the service."""
