"""A blind listening test: its design, its page, its ratings and what they tell."""
