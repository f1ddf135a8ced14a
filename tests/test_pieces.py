"""Files of generated pieces: which row they are, what is drawn again, and what their pages and records say."""

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from core.errors import HubError
from core.model.generation import Generated
from core.registry import Entry
from hparams.base import GenerateHParams, HParams
from supervisors import sizes
from supervisors.generating import drawing, ends, pieces
from supervisors.generating.prompts import Prompt
from supervisors.music_vae.measures import Window, figures
from supervisors.music_vae.measures import pieces as bounds
from supervisors.training.logbook import _keep_until
from tests.odd_pieces import built
from tests.toy_tokenizer import PITCH, STEP, ToyTokenizer

ANY_LENGTH: Any = SimpleNamespace(positions=None)  # a model without learned places


def run(**asked: Any) -> HParams:
    return HParams(name="x", generate=GenerateHParams(formats=[], **asked))


SOUND, SILENCE = Generated([PITCH + 60, STEP, PITCH + 62], 1, True), Generated([STEP], 0, False)


def test_a_silent_piece_is_drawn_again_under_another_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int | None, int]] = []
    known: Any = "what is known"

    def draw(model: Any, tokenizer: Any, wish: Any, prompt: Any, row: int | None, attempt: int, *rest: Any) -> Any:
        asked.append((row, attempt))
        assert (wish.seed, prompt, rest[-1]) == (5, [7], known), "what is asked for holds in every try"
        rows = range(3) if row is None else [row]
        return [(k, SOUND if k == 0 or (k, attempt) in ((1, 1), (2, 3)) else SILENCE) for k in rows]

    monkeypatch.setattr(pieces, "draw", draw)
    monkeypatch.setattr(pieces, "prompt_of", lambda tokenizer, asked: Prompt([7]))
    files = pieces.write_samples(ANY_LENGTH, ToyTokenizer(), run(count=3, seed=5), tmp_path, known)
    assert asked == [(None, 0), (1, 1), (2, 1), (2, 2), (2, 3)]
    assert [path.name for path in files] == ["0.mid", "1.mid", "2.mid"]
    told = [json.loads(path.with_suffix(".json").read_text()) for path in files]
    assert [one["row"] for one in told] == [0, 1 + 3, 2 + 9]  # row i of try t is i + 3 t
    assert told[0]["tokens"] == SOUND.ids and told[0]["names"] == ["pitch 60", "step", "pitch 62"]
    assert (told[0]["prompt_tokens"], told[0]["ended"], told[0]["notes"], told[0]["settings"]["seed"]) == (
        1,
        True,
        2,
        5,
    )
    assert told[0]["tokens_per_second"] == pytest.approx(6 / told[0]["seconds"])  # two drawn of each
    page = (tmp_path / "index.html").read_text()
    assert len(re.findall("2 notes, 2 tokens drawn, ended by itself", page)) == 3 and "x: 3 pieces" in page
    monkeypatch.setattr(
        pieces, "draw", lambda *given: [(k, SILENCE) for k in ([given[4]] if given[4] is not None else range(3))]
    )
    with pytest.raises(HubError, match="3 of 3 pieces had no note in 5 tries"):
        pieces.write_samples(ANY_LENGTH, ToyTokenizer(), run(count=3), tmp_path / "other")


class Noted(ToyTokenizer):
    formats = ("abc", "png")


def test_a_prompt_is_marked_and_each_format_is_written_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two quarters of prompt, a second at 120 a minute, in one piece; eight pieces without one."""
    plotted, written, shown = [], [], []

    def plot(score: Any, path: Path, title: str, given: float) -> None:
        path.touch()
        plotted.append((score.note_num(), title, given))

    monkeypatch.setattr(pieces.pianoroll, "plot", plot)
    monkeypatch.setattr(pieces.formats, "write", lambda piece, stem, name, title: written.append((stem.name, name)))
    monkeypatch.setattr(pieces.roll, "section", lambda *given, engraved: shown.append((*given[1:], engraved)) or "")
    prompted = Generated([PITCH + 60, STEP, PITCH + 62, STEP, PITCH + 64, STEP, PITCH + 65], 3, False)
    free = Generated([PITCH + 60], 0, True)
    hparams = HParams(name="x", generate=GenerateHParams(formats=["png", "mid", "musicxml"], seed=5))
    pieces.write_pieces(Noted(), hparams, [prompted, *[free] * 8], range(7, 16), tmp_path, 2.0)
    assert plotted == [(4, "x, seed 5, row 7", 2.0)]
    assert [name for stem, name in written if stem == "0"] == ["mid", "musicxml", "abc"]
    assert [name for stem, name in written if stem == "8"] == ["mid", "png", "musicxml", "abc"]
    assert shown[0] == (
        "piece0",
        "Piece 0",
        "4 notes, 4 tokens drawn, cut off at its length of 1,024 tokens",
        1.0,
        True,
    )
    assert shown[7][2:] == ("1 note, 1 token drawn, ended by itself", 0.0, True) and shown[8][-1] is False
    told = json.loads((tmp_path / "0.json").read_text())
    assert (told["row"], told["tokens_per_second"], told["prompt_tokens"], told["ended"]) == (7, 6.0, 3, False)


def test_how_a_piece_ended_is_told_apart(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Two bars of four quarters with a note each, by hand; a grammar that has nothing left is an error."""
    tokenizer = built("remi")
    ids = {tokenizer.token(id): id for id in range(tokenizer.vocab_size)}
    bar = [ids[n] for n in ("Bar_None", "TimeSig_4/4", "Position_0", "Pitch_60", "Duration_1.0.12")]
    for given, ended, wish, said in (
        (0, True, {"bars": 3}, "ended by itself"),
        (0, False, {"bars": 2}, "2 bars, as asked"),
        (5, False, {"bars": 1}, "1 bar, as asked"),  # behind a prompt of one
        (0, False, {"bars": 3, "length": 12}, "cut off at its length of 12 tokens"),  # another bar takes 5
        (0, False, {"length": 10}, "cut off at its length of 10 tokens"),
    ):
        assert ends.end_of(tokenizer, GenerateHParams(**wish), Generated(bar * 2, given, ended)) == said
    assert not caplog.records
    stuck = tokenizer.grammar()
    monkeypatch.setattr(stuck, "allowed", lambda state: torch.arange(tokenizer.vocab_size)[None] == tokenizer.eos_id)
    monkeypatch.setattr(ends, "grammar_of", lambda *asked: stuck)
    assert ends.end_of(tokenizer, GenerateHParams(bars=3), Generated(bar * 2, 0, False)).startswith(
        "broke off after 10"
    )
    assert [record.levelname for record in caplog.records] == ["ERROR"]


def test_how_pieces_ended_is_one_sentence() -> None:
    cut = "cut off at its length of 1,024 tokens"
    for given, said in (
        (["ended by itself", cut, "ended by itself"], f"2 pieces ended by themselves, 1 was {cut} (generate.length)"),
        ([cut, cut], "2 pieces were cut off at their length of 1,024 tokens (generate.length)"),
        (["8 bars, as asked"] * 4, "4 pieces have 8 bars, as asked"),
        (["2 bars, as its windows have"] * 2, "2 pieces have 2 bars, as their windows have"),
        (["1 bar, as asked", "broke off after 9 tokens: nothing could follow"],
         "1 piece has 1 bar, as asked, 1 broke off after 9 tokens: nothing could follow"),
        (["ended by itself"], "1 piece ended by itself"),
    ):  # fmt: skip
        assert ends.ended(given) == said


def test_what_is_asked_for_reaches_the_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    told: dict[str, Any] = {}

    def generate(model: Any, prompts: Any, **given: Any) -> list[Generated]:
        told.update(given, prompts=prompts)
        return [SOUND] * len(prompts)

    monkeypatch.setattr(drawing, "generate", generate)
    wish = GenerateHParams(count=4, length=77, temperature=0.5, top_k=3, seed=9, guidance=2.0)
    known: Any = "what is known"
    for row, attempt, positions, first in ((None, 0, [0, 1, 2, 3], 0), (2, 3, [2], 14)):
        found = drawing.draw(None, ToyTokenizer(), wish, [5, 6], row, attempt, None, known)  # type: ignore[arg-type]
        assert [place for place, _ in found] == positions and told["first_row"] == first
        assert told["prompts"] == [[5, 6]] * len(positions)
    assert (told["length"], told["known"], told["guidance"], told["stop"]) == (77, known, 2.0, None)
    assert (told["sampling"].temperature, told["sampling"].top_k, told["sampling"].seed) == (0.5, 3, 9)
    with pytest.raises(HubError, match=r"generate\.bars: this tokenizer does not know its bars"):
        drawing.draw(None, ToyTokenizer(), GenerateHParams(bars=2), [], None, 0, None)  # type: ignore[arg-type]


def test_windows_of_a_piece_are_summed_and_their_divergence_spread() -> None:
    def window(piece: int, nats: list[float], divergence: float, right: int, drawn: int | None) -> Window:
        return Window(piece, np.zeros(len(nats), dtype=np.int64), np.array(nats), divergence, right, drawn)

    windows = [window(0, [1.0, 2.0], 4.0, 1, 2), window(0, [3.0], 1.0, 1, 0), window(2, [5.0, 5.0, 5.0], 3.0, 2, 1)]
    first, second = bounds(windows, [[0]])
    assert (first.number, first.nats, first.tokens) == (0, 11.0, 3) and (second.number, second.nats) == (2, 18.0)
    assert first.depths == [(3.0, 1), (8.0, 2)]  # two nats more on each token of the first, one on that of the second
    assert figures(windows) == pytest.approx(
        {"elbo": -29 / 3, "reconstruction": 21 / 3, "divergence": 8 / 3, "step_accuracy": 4 / 6, "windows": 3,
         "sampled_accuracy": 3 / 6}
    )  # fmt: skip
    assert "sampled_accuracy" not in figures([*windows, window(3, [1.0], 0.0, 1, None)])


def test_a_run_that_goes_on_drops_what_was_written_after(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "metrics.jsonl"
    lines = [json.dumps({"step": step}) for step in (1, 2, 2, 3, 4)]
    path.write_text("\n".join([*lines, '{"step": 5, "lo']))
    _keep_until(path, 3)
    assert path.read_text().splitlines() == lines[:4] and not caplog.records
    path.write_text("\n".join([lines[0], "{", lines[1]]) + "\n")
    with caplog.at_level("WARNING", "swaptunes"):
        _keep_until(path, 9)
    assert path.read_text().splitlines() == lines[:2] and "line 2 is damaged" in caplog.text


class Sized:
    """Hyper-parameters of a backbone of layers * dim^2 numbers."""

    def __init__(self, dim: int = 32, layers: int = 2, dropout: float = 0.1) -> None:
        self.dim, self.layers, self.dropout = dim, layers, dropout


def test_a_shape_of_a_size_keeps_the_backbone_s_proportions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizes, "replace", lambda section, **given: Sized(**{**vars(section), **given}))

    monkeypatch.setattr(sizes, "_WIDEST", 64)

    def build(section: Sized) -> nn.Module:
        if section.dim % 16:
            raise ValueError("no such width")
        made = nn.Module()
        made.dim = section.dim  # type: ignore[assignment]
        made.weight = nn.Parameter(torch.empty(section.layers, section.dim, section.dim))
        return made

    entry = Entry("sized", "backbone", "p", "d", "1", "f", 1, hparams=Sized, build=build)
    target = 6 * 96**2 + 24 * 96  # six blocks of 96, 16 a block as 32 to 2, and a vocabulary of 24
    found = sizes.fit(entry, target, 24, 999)
    assert (found.hparams.layers, found.hparams.dim, found.parameters) == (6, 96, target)
    assert found.hparams.dropout == 0.0
    assert sizes.parameters(entry, Sized(32, 2), 13) == 2 * 32**2 + 16 * 32  # rows in eights, the head tied
    with pytest.raises(HubError, match=r'no shape of backbone "sized" has 10 parameters within 2%'):
        sizes.fit(entry, 10, 24, 999)
