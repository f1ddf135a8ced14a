"""What plugins promise and what the hub may call on them, one contract a module."""
