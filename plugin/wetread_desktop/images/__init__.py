"""What every viewer of ours needs to show images: files opened, slices read, overlays placed. No viewer, no widget.

``files`` finds the studies, ``series_images`` reads one series, ``overlays`` places what lies over it (``grids``) and
``shades`` colours it. Only ``loader``, which does the first two away from the thread of the GUI, knows Qt.
"""
