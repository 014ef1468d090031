"""REST services of the platform; one folder each, the same few files in each."""
