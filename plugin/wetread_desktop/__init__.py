"""Wetread in the radiologist's viewer: press, see, decide, sign.

Three rings. ``client``: what is known and may be done, standard library only, shared with 3D Slicer. ``widgets``: Qt
through qtpy, without logic. ``hosts``: one folder for each viewer behind
:class:`wetread_desktop.host.ViewerHost`; what they share to show images is in ``images``.
"""

from wetread import __version__

__all__ = ["__version__"]
