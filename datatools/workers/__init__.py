"""Processes that read music, with limits, beside the one that trains."""
