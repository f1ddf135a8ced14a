"""MusicVAE: its arithmetic, its model, its windows and what it plays."""
