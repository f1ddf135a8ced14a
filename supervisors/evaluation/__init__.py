"""Scores a model, and its music against real music; `report.py` is the verb."""
