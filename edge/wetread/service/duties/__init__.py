"""What the coordinator does, one file for each duty. Adding one is a new file and one line in ``coordinator.py``."""
