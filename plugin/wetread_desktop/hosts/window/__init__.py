"""The standalone window: three linked planes, or one film, drawn with QImage; no OpenGL.

Start reading at ``study_window.py``. How a volume is cut and hung (``planes``) knows no Qt.
"""
