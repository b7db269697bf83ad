"""Fits, shows and switches the certified policies, for the command line and over HTTP."""
