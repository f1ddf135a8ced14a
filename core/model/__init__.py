"""The language model around any backbone: loss, optimisation, sampling and generation."""
