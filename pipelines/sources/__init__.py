"""Lists the items of a drop."""
