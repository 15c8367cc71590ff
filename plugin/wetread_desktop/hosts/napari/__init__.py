"""The panel inside napari. ``napari.yaml`` beside this file is what napari reads of us."""
