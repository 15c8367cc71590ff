"""A power cut on a file system that keeps nothing that was not synced: ``layer.c`` records, ``replay.py`` cuts."""
