"""``wetread demo``: the whole way on one machine, for someone who has never seen it. ``run`` is the place to start."""
