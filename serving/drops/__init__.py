"""Labels drops from the command line: the order, the labelling, what is written and shown."""
