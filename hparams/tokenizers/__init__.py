"""Hyper-parameters of the built-in tokenizers, one module a family."""
