"""Measures the service as the ML backend of a real Label Studio."""
