"""``wetread serve``: joins all stages. ``coordinator`` is the composition root."""
