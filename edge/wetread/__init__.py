"""Wetread: a preliminary read for every study. Start reading at ``pipeline.py``."""

from wetread.errors import Misconfigured, StudyRejected, Temporary, WetreadError

__all__ = ["Misconfigured", "StudyRejected", "Temporary", "WetreadError", "__version__"]

__version__ = "0.1.0"
