"""The vocabulary and the grammar of ABC tokens."""
