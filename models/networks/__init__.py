"""Network layouts that no library builds at any size from settings alone."""
