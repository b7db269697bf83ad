"""Holds the certified policy against the truth, on the demo's detector and scenes that it has never seen."""
