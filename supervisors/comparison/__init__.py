"""Runs beside each other: equal sizes, intervals, a page."""
