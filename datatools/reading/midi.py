"""Standard MIDI files, through symusic."""

import re

import symusic

# What symusic says, and what it means to people.
_MEANINGS = {
    r".*header is not MThd.*": "it does not begin with MThd",
    r".*File size is less than (\d+).*": r"it has less than \1 bytes",
    r"Division type is not.*": "its times are in frames a second (SMPTE); expected ticks a quarter",
    r"Get pitch_bend=(-?\d+)": r"its pitch bend is \1; expected -8192 to 8191",
    r"Get (\w+)=(-?\d+)": r"its \1 is \2; expected at most 127",
    r"Invaild midi format \((\d+)\).*": r"its format is \1; expected 0, 1 or 2",
    r".*first chunk length is not 6, but (\d+).*": r"its header has \1 bytes; expected 6",
    r"Invalid chunk length (\d+) \(.*: (\d+)\)": r"a chunk of \1 bytes, of which \2 are there",
}


def score(data: bytes) -> symusic.Score:
    """The score in the file's own ticks; ValueError with symusic's reason when it refuses the file.

    Read from bytes, as symusic knows formats by their extension and refuses .kar otherwise.
    """
    try:
        result: symusic.Score = symusic.Score.from_midi(data)
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"it is no valid MIDI file: {_meaning(str(error))}") from error
    return result


def _meaning(said: str) -> str:
    reason = " ".join(said.split()).removeprefix("MiniMidi: ").removesuffix(": iostream error")
    for pattern, meaning in _MEANINGS.items():
        match = re.fullmatch(pattern, reason)
        if match:
            return match.expand(meaning).replace("_", " ")
    return reason
