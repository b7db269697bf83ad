"""Measures prelabel, side by side with what it is compared to."""
