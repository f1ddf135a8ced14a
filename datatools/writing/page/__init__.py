"""Pages of music and figures for a browser."""
