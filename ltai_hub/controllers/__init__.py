"""Level-triggered loops: look, compare with the wish, take one step, come again."""
