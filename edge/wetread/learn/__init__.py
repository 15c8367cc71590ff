"""Train, evaluate and calibrate: a site's own figures, and bundles of its own, with the commands that made ours.

``train`` and ``evaluate`` are the two ways in. Above ``infer``: what is evaluated is what would read.
"""
