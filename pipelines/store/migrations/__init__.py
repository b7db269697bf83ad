"""Holds the statements that build the store's tables, one file for each step."""
