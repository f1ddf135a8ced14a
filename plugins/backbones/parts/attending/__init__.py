"""Attention and what it knows of places."""
