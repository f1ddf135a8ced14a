"""Humdrum's codes of instruments (`*Iflt`) as General MIDI programs, 0 to 127.

Source: the Humdrum reference, tandem interpretations, "instrument"; those that General MIDI has something like.
"""

PROGRAMS = {
    "piano": 0, "fortp": 0, "cemba": 6, "clavi": 7, "celest": 8, "organ": 19, "porg": 19, "guitr": 24, "lute": 24,
    "violn": 40, "viola": 41, "cello": 42, "cbass": 43, "harp": 46, "timpa": 47, "soprn": 52, "mezzo": 52, "calto": 52,
    "tenor": 52, "barit": 52, "bass": 52, "vox": 52, "cor": 60, "tromp": 56, "trumpt": 56, "tromb": 57, "tuba": 58,
    "sax": 65, "oboe": 68, "corin": 69, "fagot": 70, "clars": 71, "picco": 72, "flt": 73, "recor": 74,
}  # fmt: skip
