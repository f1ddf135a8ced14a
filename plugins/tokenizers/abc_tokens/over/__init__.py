"""What stands over notes in ABC tokens: chord symbols, and what is sung."""
