"""Measures the batch job, ``prelabel annotate``, beside what somebody would write in its place."""
