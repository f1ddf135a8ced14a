"""Every draw of long pieces against the same draw by hand, made from the whole prefix and no state."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import symusic
import torch

from core.contracts.piece import Piece
from core.model.generation import generate
from core.model.language_model import LanguageModel
from core.model.sampling import Sampling
from hparams.base import GenerateHParams, HParams
from supervisors.generating import drawing, pieces
from supervisors.generating.prompts import prompt_of
from tests.toy_tokenizer import PITCH, STEP, ToyTokenizer
from tests.twin import hub
from tests.twin.byhand import Toy, Way, continued, point
from tests.twin.hub import BOS, EOS, PAD

SPECIAL = PAD, BOS, EOS
PROMPTS = [[], [7, 8, 9], [5] * 30]


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Arrays this small only lose by being shared out."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def seldom_ending(end: float) -> LanguageModel:
    """The toy model with a first hidden unit that is always 1 and that only the end's logit reads, as `end`."""
    model = hub.model()
    with torch.no_grad():
        model.backbone.bias[0] = 20.0
        model.backbone.exempt[0] = 0.0
        model.backbone.exempt[0, 0] = 1.0
        model.backbone.mix[0] = 0.0
        model.head.weight[:, 0] = 0.0
        model.head.weight[EOS] = 0.0
        model.head.weight[EOS, 0] = end
    return model


@pytest.mark.parametrize(
    ("way", "length", "end"),
    [
        (Way(), 600, -9.0),  # beyond 64 and 512 draws
        (Way(penalty=1.3, temperature=1.2, top_k=9, top_p=0.9, min_p=0.02), 150, -2.0),
        (Way(temperature=0.7, min_p=0.1), 100, -1.0),
    ],
)
def test_every_draw_is_that_of_the_whole_prefix(way: Way, length: int, end: float, figures: list[str]) -> None:
    model = seldom_ending(end)
    found = generate(
        model,
        PROMPTS,
        bos_id=BOS,
        eos_id=EOS,
        pad_id=PAD,
        length=length,
        sampling=Sampling(way.temperature, way.top_k, way.top_p, way.min_p, 11, way.penalty),
        first_row=3,
    )
    toy = Toy(hub.weights(model), hub.VOCABULARY)
    for row, (piece, prompt) in enumerate(zip(found, PROMPTS, strict=True)):
        assert (piece.ids, piece.ended) == continued(toy, prompt, SPECIAL, length, way, 11, 3 + row)
    if length == 600:
        drawn = sum(len(piece.ids) - piece.prompt_length for piece in found)
        assert max(len(piece.ids) - piece.prompt_length for piece in found) > 512
        figures.append(f"draws by hand: {drawn} draws of {len(found)} pieces of up to 600 tokens are the same")


def test_points_do_not_come_again() -> None:
    """The draws of one row, another row, another seed: no stretch of 64 or 512 steps is one seen before."""
    points = {point(seed, row, step) for seed in (0, 1) for row in (0, 1, 2) for step in range(1100)}
    assert len(points) == 2 * 3 * 1100


class Bars(ToyTokenizer):
    """The toy tokenizer with four steps to a bar, told by STEP ids alone."""

    def bar_starts(self, ids: Sequence[int]) -> list[int]:
        steps = [place for place, id in enumerate(ids) if id == STEP]
        return [0, *steps[3::4]] if ids else []


class Ruled(Bars):
    """With a grammar that notes what it was asked for, and can tell nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[int, int]] = []

    def grammar(self, bars: int = 0, length: int = 0) -> Any:
        self.asked.append((bars, length))
        raise ValueError("not today")


def music(path: Path, notes: Sequence[tuple[float, int]], quarters: int = 1) -> str:
    """A file of notes at beats, each of some quarters, under a meter of 4/4."""
    score, track = symusic.Score(480), symusic.Track("one", 0, False)
    score.time_signatures.append(symusic.TimeSignature(0, 4, 4))
    for beat, pitch in notes:
        track.notes.append(symusic.Note(round(beat * 480), 480 * quarters, pitch, 80))
    score.tracks.append(track)
    score.dump_midi(str(path))
    return str(path)


def test_a_prompt_of_some_beats_holds_those_beats(tmp_path: Path) -> None:
    path = music(tmp_path / "scale.mid", [(0, 60), (1, 62), (2, 64), (3, 65), (4, 67), (5, 69)])
    ids = [PITCH + 60, STEP, PITCH + 62, STEP, PITCH + 64, STEP, PITCH + 65, STEP, PITCH + 67, STEP, PITCH + 69]
    for beats, notes in ((0.0, 6), (4.0, 4), (1.0, 1), (2.5, 3), (90.0, 6)):
        asked = GenerateHParams(prompt=path, prompt_beats=beats)
        assert prompt_of(Bars(), asked).ids == ids[: 2 * notes - 1]  # type: ignore[arg-type]
    held = music(tmp_path / "held.mid", [(0, 60), (1, 62)], quarters=4)
    told: list[list[tuple[int, int]]] = []

    class Listener(Bars):
        def encode(self, piece: Piece) -> list[int]:
            told.append([(note.time, note.duration) for track in piece.score.tracks for note in track.notes])
            return super().encode(piece)

    prompt_of(Listener(), GenerateHParams(prompt=held, prompt_beats=2))  # type: ignore[arg-type]
    assert told == [[(0, 960), (480, 480)]]
    for bars, notes in ((1, 4), (2, 6), (9, 6)):  # four beats a bar, the last one not full
        asked = GenerateHParams(prompt=path, prompt_bars=bars)
        assert prompt_of(Bars(), asked).ids == ids[: 2 * notes - 1]  # type: ignore[arg-type]
    assert prompt_of(Bars(), GenerateHParams()).ids == []  # type: ignore[arg-type]


def test_bars_of_a_prompt_follow_its_meters(tmp_path: Path) -> None:
    score = symusic.Score(480)
    score.time_signatures.append(symusic.TimeSignature(0, 3, 4))
    score.time_signatures.append(symusic.TimeSignature(6 * 480, 6, 8))
    score.tracks.append(symusic.Track("one", 0, False))
    for eighth in range(40):
        score.tracks[0].notes.append(symusic.Note(eighth * 240, 240, 60 + eighth % 24, 80))
    score.dump_midi(str(tmp_path / "meters.mid"))
    heard: list[int] = []

    class Listener(Bars):
        def encode(self, piece: Piece) -> list[int]:
            heard.append(piece.score.note_num())
            return super().encode(piece)

    for bars in (1, 2, 3, 4):  # all of them of six eighths
        prompt_of(Listener(), GenerateHParams(prompt=str(tmp_path / "meters.mid"), prompt_bars=bars))  # type: ignore[arg-type]
    assert heard == [6, 12, 18, 24]


class Walk(torch.nn.Module):
    """Tells nothing of what it read: every token is drawn from the same chances."""

    packs = True
    dim = 8

    def forward(self, x: torch.Tensor, state: Any = None, starts: Any = None) -> tuple[torch.Tensor, Any]:
        return torch.ones_like(x), state

    def init_state(self, batch: int, max_length: int) -> dict[str, torch.Tensor]:
        return {"nothing": torch.zeros(batch, 1)}


def test_bars_are_counted_after_those_of_the_prompt(tmp_path: Path) -> None:
    """Eight beats are two bars; three more are asked for, with a grammar and without."""
    path = music(tmp_path / "two.mid", [(beat, 60 + beat) for beat in range(8)])
    torch.manual_seed(0)
    model = LanguageModel(Walk(), ToyTokenizer.vocab_size).eval()  # type: ignore[arg-type]
    with torch.no_grad():
        model.head.weight = torch.nn.Parameter(torch.full_like(model.head.weight, -5.0))
        model.head.weight[[STEP, PITCH + 70]] = 0.0
    for prompt, before in (("", 0), (path, 2)):
        asked = GenerateHParams(count=1, length=500, bars=3, prompt=prompt)
        hparams = HParams(name="x", backbone=None, tokenizer=type("T", (), {"name": "toy"})(), generate=asked)
        files = pieces.write_samples(model, Bars(), hparams, tmp_path / f"out{before}")  # type: ignore[arg-type]
        for file in files:
            tokens = json.loads(file.with_suffix(".json").read_text())["tokens"]
            full, extra = divmod(tokens.count(STEP), 4)
            assert full == before + 3 and extra == 0 and tokens[-1] == STEP
        ruled = Ruled()
        drawing._grammar(ruled, prompt_of(ruled, asked).ids, asked)  # type: ignore[arg-type]
        assert ruled.asked == [(3 + before, 500 + (15 if prompt else 0))]
