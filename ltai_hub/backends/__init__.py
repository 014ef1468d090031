"""Where workloads really run. ``base`` is the seam, ``loader`` finds the configured backend."""
