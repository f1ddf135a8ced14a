"""Recurrences with a matrix for a state: in chunks of matrix products for training, step by step for decoding."""
