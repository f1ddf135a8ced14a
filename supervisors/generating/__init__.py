"""From a model to files of music."""
