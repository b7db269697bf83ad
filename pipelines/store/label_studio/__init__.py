"""Keeps what connects the store to projects of Label Studio, and where each prediction for them is."""
