"""Sliding windows in bounded memory."""
