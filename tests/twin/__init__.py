"""A run of a toy model twice: once through the hub, once by hand from the definitions, with no line in common."""
