"""A score as sound: through FluidSynth and a General-MIDI soundfont where both are here, else by a plain synthesizer.

The plain one makes sine partials under a falling envelope, and noise for drums, and says that it is one. FluidSynth
is the library libfluidsynth with its binding (`pip install 'swaptunes[sound]'`, which brings a small soundfont too).

Shapes: t samples, c channels of sound (2).
"""

import wave
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import symusic
from numpy.typing import NDArray

from core.errors import HubError
from core.log import warn_once

RATE = 44_100  # samples a second
TAIL = 1.5  # seconds after the last note, for it to fade
LONGEST = 3600.0  # seconds that are rendered; more would fill the memory
_PARTIALS = ((1, 1.0), (2, 0.4), (3, 0.2), (4, 0.1))
_RELEASE = 0.08  # seconds
_SUSTAIN = 64  # the controller of the pedal

Sound = NDArray[np.float32]  # (t c), within -1 and 1


class Note(NamedTuple):
    """One sounding note in seconds."""

    start: float
    end: float
    pitch: int
    velocity: int


def write(score: symusic.Score, path: str | Path, soundfont: str = "") -> None:
    """Writes 16-bit stereo WAV; `soundfont` names an .sf2, else the one that the extra brings is used."""
    samples = render(score, soundfont)
    whole = (np.clip(samples, -1, 1) * 32767).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(whole.tobytes())


def render(score: symusic.Score, soundfont: str = "", told: bool = True) -> Sound:
    """The sound (t c), its loudest sample at 0.9; HubError for a missing soundfont, or music beyond an hour.

    `told`: whether somebody asked for sound, who is told once if it is made by the plain synthesizer.
    """
    tracks = [(track, _notes(track)) for track in score.to("second").tracks]
    end = max((note.end for _, notes in tracks for note in notes), default=0.0) + TAIL
    if end > LONGEST:
        raise HubError(f"the music lasts {end / 60:.0f} minutes; expected at most {LONGEST / 60:.0f} to be rendered")
    font = _soundfont(soundfont)
    if font is not None and _fluidsynth() is not None:
        samples = _through_fluidsynth(tracks, end, font)
    else:
        why = "no libfluidsynth" if font is not None else "no soundfont"
        if told:
            advised = "install libfluidsynth and swaptunes[sound] for better"
            warn_once(f"sound by a plain synthesizer ({why} here): {advised}")
        samples = _plain(tracks, end)
    peak = float(np.abs(samples).max(initial=0))
    return samples * np.float32(0.9 / peak) if peak > 0 else samples


def _notes(track: Any) -> list[Note]:
    """Notes as long as the pedal holds them."""
    pedals = [(pedal.time, pedal.time + pedal.duration) for pedal in track.pedals]
    down = None
    for control in track.controls:
        if control.number == _SUSTAIN and not track.pedals:
            if control.value >= 64 and down is None:
                down = control.time
            elif control.value < 64 and down is not None:
                pedals.append((down, control.time))
                down = None
    found = []
    for note in track.notes:
        end = note.time + note.duration
        held = [stop for start, stop in pedals if start <= end < stop]
        found.append(Note(note.time, max([end, *held]), note.pitch, note.velocity))
    return found


def _soundfont(asked: str) -> Path | None:
    if asked:
        if not Path(asked).is_file():
            raise HubError(f"{asked} is no file; expected a soundfont (.sf2)")
        return Path(asked)
    spec = find_spec("pretty_midi")
    fonts = sorted(Path(spec.origin).parent.glob("*.sf2")) if spec and spec.origin else []
    return fonts[0] if fonts else None


def _fluidsynth() -> Any:
    try:
        import fluidsynth
    except (ImportError, OSError):  # the binding alone, without the library below it, cannot be imported
        return None
    return fluidsynth


def _through_fluidsynth(tracks: list[tuple[Any, list[Note]]], end: float, font: Path) -> Sound:
    total = np.zeros((int(end * RATE), 2), np.float32)
    for first in range(0, len(tracks), 15):  # as many as there are channels for instruments
        total += _one_synth(tracks[first : first + 15], len(total), font)
    return total


def _one_synth(tracks: list[tuple[Any, list[Note]]], length: int, font: Path) -> Sound:
    synth = _fluidsynth().Synth(gain=0.4, samplerate=float(RATE))
    try:
        bank = synth.sfload(str(font))
        if bank < 0:
            raise HubError(f"{font} cannot be read as a soundfont (.sf2)")
        events: list[tuple[int, int, int, int, int]] = []  # sample, on?, channel, pitch, velocity
        for number, (track, notes) in enumerate(tracks):
            channel = 9 if track.is_drum else number + (number >= 9)
            synth.program_select(channel, bank, 128 if track.is_drum else 0, track.program)
            for note in notes:
                events.append((round(note.start * RATE), 1, channel, note.pitch, note.velocity))
                events.append((round(note.end * RATE), 0, channel, note.pitch, 0))
        parts, at = [], 0
        for time, group in groupby(sorted(events), key=lambda event: event[0]):
            if time > at:
                parts.append(synth.get_samples(time - at))
                at = time
            for _, on, channel, pitch, velocity in group:
                synth.noteon(channel, pitch, velocity) if on else synth.noteoff(channel, pitch)
        parts.append(synth.get_samples(max(length - at, 1)))
        return (np.concatenate(parts).reshape(-1, 2)[:length] / 32768).astype(np.float32)
    finally:
        synth.delete()


def _plain(tracks: list[tuple[Any, list[Note]]], end: float) -> Sound:
    total = np.zeros(int(end * RATE), np.float32)
    noise = np.random.default_rng(0).standard_normal(RATE // 4).astype(np.float32)
    for track, notes in tracks:
        for note in notes:
            wave_of = _drum(note, noise) if track.is_drum else _tone(note)
            start = int(note.start * RATE)
            stop = min(start + len(wave_of), len(total))
            total[start:stop] += wave_of[: stop - start]
    return np.stack([total, total], axis=1)  # t c


def _tone(note: Note) -> NDArray[np.float32]:
    t = np.arange(int((note.end - note.start + _RELEASE) * RATE), dtype=np.float32) / RATE
    pitch = 440 * 2 ** ((note.pitch - 69) / 12)
    decay = 1.2 + pitch / 800  # high strings die sooner
    envelope = (
        np.minimum(t / 0.005, 1) * np.exp(-decay * t) * np.clip((note.end - note.start + _RELEASE - t) / _RELEASE, 0, 1)
    )
    partials = [share * np.sin(2 * np.pi * pitch * k * t) for k, share in _PARTIALS if pitch * k < RATE / 2]
    return (np.sum(partials, axis=0) * envelope * (note.velocity / 127) ** 1.5 * 0.2).astype(np.float32)


def _drum(note: Note, noise: NDArray[np.float32]) -> NDArray[np.float32]:
    t = np.arange(len(noise), dtype=np.float32) / RATE
    low = note.pitch in (35, 36, 41, 43, 45)
    body = np.sin(2 * np.pi * (60 + 90 * np.exp(-30 * t)) * t) if low else noise
    return (body * np.exp(-(12 if low else 25) * t) * (note.velocity / 127) ** 1.5 * 0.3).astype(np.float32)
