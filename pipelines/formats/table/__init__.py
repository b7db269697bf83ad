"""Lays results out as rows of an Arrow table with a stated schema, and reads them back."""
