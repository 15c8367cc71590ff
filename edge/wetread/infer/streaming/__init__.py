"""From windows to labels on the source grid without a buffer of all classes. Start at ``chain.py``."""
