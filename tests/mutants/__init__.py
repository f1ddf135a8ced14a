"""Small faults planted one at a time, and whether the tests notice: `python -m tests.mutants`, described in README."""
