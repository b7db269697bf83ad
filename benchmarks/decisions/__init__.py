"""Measures what certified auto-acceptance promises and what it accepts, beside other rules."""
