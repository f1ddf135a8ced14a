"""Hyper-parameters of the built-in backbones, one module each."""
