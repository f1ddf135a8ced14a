"""From a file of any format to a Piece; `scores.read` is the door."""
