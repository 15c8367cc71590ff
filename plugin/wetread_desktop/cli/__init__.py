"""The ``wetread-desk`` command."""
