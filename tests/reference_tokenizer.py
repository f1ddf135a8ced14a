"""A small tokenizer that keeps every law: tempo, then bars of position, pitch, velocity and duration, with a grammar.

Each fault of `planted_faults_tokenizers` replaces one of its methods. A bar is sixteen sixteenths, whatever the meter.
Shapes: b batch, v vocabulary.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Literal

import symusic
import torch

TEMPOS, POSITIONS, PITCHES, VELOCITIES, DURATIONS = 8, 16, 128, 8, 64
SIXTEENTH = 120
KINDS = [("Tempo", TEMPOS), ("Bar", 1), ("Position", POSITIONS), ("Pitch", PITCHES)]
KINDS += [("Velocity", VELOCITIES), ("Duration", DURATIONS)]
NAMES = ["pad", "bos", "eos", *(f"{kind}_{value}" for kind, count in KINDS for value in range(count))]
IDS = {name: id for id, name in enumerate(NAMES)}
FIRST = {kind: IDS[f"{kind}_0"] for kind, _ in KINDS}
COUNT = dict(KINDS)


@dataclass(kw_only=True)
class ReferenceTokenizerHParams:
    name: Literal["reference"] = "reference"
    softer: int = 0  # than it is told, in steps of velocity; read by one of the planted faults


class ReferenceTokenizer:
    vocab_size = len(NAMES)
    pad_id, bos_id, eos_id = 0, 1, 2
    streams = 1

    def __init__(self, hparams, folder=None):
        self.learned = json.loads((folder / "learned.json").read_text()) if folder else 0

    def train(self, pieces):
        self.learned = sum(1 for _ in pieces)

    def encode(self, piece):
        score = piece.score
        tick = score.ticks_per_quarter
        rows = sorted(
            {
                (round(4 * note.time / tick), note.pitch): (max(1, round(4 * note.duration / tick)), note.velocity)
                for track in score.tracks
                for note in track.notes
            }.items()
        )
        tempo = score.tempos[0].qpm if len(score.tempos) else 120
        ids = [FIRST["Tempo"] + self.tempo_level(tempo)]
        bar, position = -1, None
        for (onset, pitch), (duration, velocity) in self.kept(rows):
            while bar < onset // POSITIONS:
                ids.append(FIRST["Bar"])
                bar, position = bar + 1, None
            if position != onset % POSITIONS:
                position = onset % POSITIONS
                ids.append(FIRST["Position"] + position)
            ids.append(FIRST["Pitch"] + pitch)
            ids.append(FIRST["Velocity"] + velocity // 16)
            ids.append(FIRST["Duration"] + min(duration, DURATIONS) - 1)
        return ids

    def kept(self, rows):
        return rows

    def tempo_level(self, tempo):
        return min(TEMPOS - 1, max(0, round((tempo - 60) / 20)))

    def decode(self, ids):
        score = symusic.Score(4 * SIXTEENTH)
        track = symusic.Track()
        bar, position, pitch, velocity, seen = -1, None, None, None, set()
        for kind, value in self.read(ids):
            if kind == "Tempo" and not len(score.tempos):
                score.tempos.append(symusic.Tempo(0, 60 + 20 * value))
            elif kind == "Bar":
                bar, position = bar + 1, None
            elif kind == "Position" and bar >= 0:
                position = value
            elif kind == "Pitch":
                pitch, velocity = value, None
            elif kind == "Velocity":
                velocity = value
            elif kind == "Duration" and None not in (position, pitch, velocity):
                onset = POSITIONS * bar + position
                if (onset, pitch) not in seen:
                    seen.add((onset, pitch))
                    track.notes.append(self.note(onset, value + 1, pitch, velocity))
                pitch = None
        score.tracks.append(track)
        return Decoded(score)

    def note(self, onset, duration, pitch, velocity):
        return symusic.Note(SIXTEENTH * onset, SIXTEENTH * duration, pitch, 16 * velocity + 8)

    def read(self, ids):
        for id in ids:
            if 3 <= id < len(NAMES):
                kind, value = NAMES[id].split("_")
                yield kind, int(value)

    def token(self, id):
        return NAMES[id]

    def fingerprint(self):
        return hashlib.sha256(json.dumps([NAMES, self.learned]).encode()).hexdigest()

    def save(self, folder):
        (folder / "learned.json").write_text(json.dumps(self.learned))

    def transpose_table(self, semitones):
        return self.shifted("Pitch", semitones)

    def velocity_table(self, steps):
        return self.shifted("Velocity", steps)

    def tempo_table(self, factor):
        return self.shifted("Tempo", round(10 * (factor - 1)))

    def shifted(self, kind, by):
        table = list(range(len(NAMES)))
        for value in range(COUNT[kind]):
            inside = 0 <= value + by < COUNT[kind]
            table[FIRST[kind] + value] = FIRST[kind] + value + by if inside else -1
        return table

    def bar_starts(self, ids):
        return [at for at, id in enumerate(ids) if id == FIRST["Bar"]]

    def grammar(self, bars=0, length=0):
        return ReferenceGrammar(bars)

    def opening(self, ids):
        return list(ids)


class Decoded:
    def __init__(self, score):
        self.score = score


class ReferenceGrammar:
    """State: the last token, the position and the pitch that were reached, the bars begun (b,)."""

    def __init__(self, bars=0):
        self.bars = bars

    def begin(self, batch):
        zero = torch.zeros(batch, dtype=torch.int64)
        return {"last": zero, "position": zero - 1, "pitch": zero - 1, "bars": zero}

    def allowed(self, state):
        last = [self.kind(int(id)) for id in state["last"]]
        allowed = torch.zeros(len(last), len(NAMES), dtype=torch.bool)
        for row, kind in enumerate(last):
            position, pitch = int(state["position"][row]), int(state["pitch"][row])
            for following in self.after(kind):
                floor = {"Position": position + 1, "Pitch": pitch + 1}.get(following, 0)
                self.open(allowed[row], following, floor)
            full = self.bars == int(state["bars"][row])
            if kind == "Duration":
                allowed[row, 2] = full or not self.bars
            if full and self.bars:
                allowed[row, FIRST["Bar"]] = False
        return allowed  # b v

    def open(self, row, kind, floor):
        row[FIRST[kind] + floor : FIRST[kind] + COUNT[kind]] = True

    def after(self, kind):
        return {
            "": ["Tempo"],
            "Tempo": ["Bar"],
            "Bar": ["Bar", "Position"],
            "Position": ["Pitch"],
            "Pitch": ["Velocity"],
            "Velocity": ["Duration"],
            "Duration": ["Pitch", "Position", "Bar"],
        }[kind]

    def advance(self, state, ids):
        new = {key: value.clone() for key, value in state.items()}
        for row, id in enumerate(ids.tolist()):
            kind = self.kind(id)
            new["last"][row] = id
            if kind == "Bar":
                new["bars"][row] += 1
                new["position"][row] = new["pitch"][row] = -1
            elif kind == "Position":
                new["position"][row], new["pitch"][row] = id - FIRST["Position"], -1
            elif kind == "Pitch":
                new["pitch"][row] = id - FIRST["Pitch"]
        return new

    def kind(self, id):
        return NAMES[id].split("_")[0] if id >= 3 else ""


def build(hparams, folder=None):
    return ReferenceTokenizer(hparams, folder)
