"""Performances as events in seconds: keys pressed and released, how loud, and the time that passes between."""
