"""From files to a token store: survey, duplicates, splits, encoding."""
