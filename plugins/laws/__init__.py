"""What every plugin must obey, as `check NAME` runs it."""
