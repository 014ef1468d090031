"""Environment rows, written by the spawner and read by the environments service."""
