"""Holds the product against a real Label Studio server; 'make test-label-studio' runs them."""
