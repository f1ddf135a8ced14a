"""Every hyper-parameter of the hub, as typed dataclasses; imports no torch."""
