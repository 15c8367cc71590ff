"""Findings become DICOM objects: SEG, SR and overlay pictures. The only home of highdicom. Start at ``encoder.py``."""
