"""Tokens that tell notes through MidiTok, their grammar and their tables."""
