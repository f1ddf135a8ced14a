"""A page on this machine to play, continue and compare models, and the engine and the API below it."""
