"""How fast each backbone trains and plays on this machine."""
