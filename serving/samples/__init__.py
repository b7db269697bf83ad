"""Lets people choose what a human should label next."""
