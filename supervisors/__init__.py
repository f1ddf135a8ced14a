"""The owners of a run."""
