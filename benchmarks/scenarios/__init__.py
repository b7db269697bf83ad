"""Measures a model or the service in the scenarios of MLPerf, and compares two such reports: prelabel bench."""
