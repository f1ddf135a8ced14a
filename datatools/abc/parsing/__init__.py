"""A tune's symbols to items, voice by voice: pitches resolved, lengths exact, repeats still as written."""
