"""The standalone window: three linked planes, or one film, drawn with QImage; no OpenGL.

Start reading at ``study_window.py``. Geometry and pixels (``planes``, ``grids``, ``shades``, ``images``) know no Qt.
"""
