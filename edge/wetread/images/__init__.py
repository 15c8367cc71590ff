"""Instances become a ``Volume``: array and geometry in patient space, or the reason why they cannot."""
