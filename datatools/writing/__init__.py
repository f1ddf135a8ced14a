"""From scores to files and pictures."""
