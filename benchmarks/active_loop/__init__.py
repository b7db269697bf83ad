"""Runs the whole loop where the truth is known: label, choose, review, certify, route, learn, and again."""
