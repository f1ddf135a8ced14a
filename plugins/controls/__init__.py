"""The controls that we ship, one module a control."""
