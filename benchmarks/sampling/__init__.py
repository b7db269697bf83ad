"""Measures what the choice of items to label saves, and what it costs."""
