"""Connects Label Studio to the service."""
