"""Where files come from: downloads, archives, folders, and the corpora of the install."""
