"""The folder that people share: written, read, and read from others' formats."""
