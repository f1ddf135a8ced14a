"""Tokens of several streams, each telling a whole note or a step of time at once."""
