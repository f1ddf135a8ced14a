"""Vocabularies that are learnt, where what the library makes needs a hand."""
