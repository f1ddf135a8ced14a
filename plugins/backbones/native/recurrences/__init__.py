"""Recurrences with a matrix for a state, fused."""
