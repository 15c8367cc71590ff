"""The command line: one file for each command, one line in ``main.COMMANDS``."""
