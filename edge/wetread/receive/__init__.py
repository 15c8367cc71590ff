"""Entrances: what comes in ends in one ``keep``; the sender hears Success only after that returned."""
