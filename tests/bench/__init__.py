"""``make bench [FIGURES="P1 P6"]``: what is promised in numbers, measured against a peer in the same run."""
