"""``ltai start``: the whole platform on one machine, as processes."""
