"""What takes minutes: real launches, kills, wheels; `make test-long`."""
