"""What metrics measure with."""
