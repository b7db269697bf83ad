"""Speaks with Label Studio: its ML-backend protocol, its webhooks, and its API."""
