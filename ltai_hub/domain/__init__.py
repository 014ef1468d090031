"""Vocabulary and rules of the platform: frozen values and pure functions, no I/O."""
