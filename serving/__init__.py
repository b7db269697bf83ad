"""The online service and the command line: puts the parts together."""
