"""Published sets of MIDI files, given by a folder or archive; what they share stands in files.py."""
