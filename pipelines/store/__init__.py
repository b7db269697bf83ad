"""Keeps everything that happened to an item in PostgreSQL."""
