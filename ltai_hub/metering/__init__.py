"""Usage intervals, prices and the one function through which phases change."""
