"""From files of music to batches of tokens."""
