"""Viewers: each behind :class:`wetread_desktop.host.ViewerHost`, and nothing else knows them."""
