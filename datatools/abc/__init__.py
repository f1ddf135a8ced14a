"""ABC text: read into scores, written from scores, and cut into tunes."""
