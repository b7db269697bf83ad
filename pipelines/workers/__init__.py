"""Labels drops on many processes and nodes, by actors of a Ray cluster."""
