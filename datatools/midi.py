"""Standard MIDI files, through symusic."""

import symusic


def score(data: bytes) -> symusic.Score:
    """The score in the file's own ticks; ValueError with symusic's reason when it refuses the file.

    Read from bytes, as symusic knows formats by their extension and refuses .kar otherwise.
    """
    try:
        result: symusic.Score = symusic.Score.from_midi(data)
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split()).removeprefix("MiniMidi: ").removesuffix(": iostream error")
        raise ValueError(f"it is no valid MIDI file: {reason}") from error
    return result
