"""What may follow what in tokens of notes."""
