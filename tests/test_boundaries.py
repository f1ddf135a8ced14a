"""What is seen only at a boundary: a share just reached, a crop behind a cut, the end of a chunk, a kept state."""

import contextlib
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import symusic
import torch
from torch import Tensor, nn

from core.model.conditioning import Known
from core.model.generation import generate
from core.model.interleaving import Company, Kept, Line, Wish
from core.model.language_model import LanguageModel
from core.model.sampling import Sampling, filtered
from core.seeds import derive
from datatools.batching.packing import plan
from datatools.writing import musicxml, sound
from hparams.backbones.transformer import TransformerHParams
from hparams.controls import LabelHParams
from plugins.backbones import transformer
from plugins.controls.label import Label
from plugins.metrics import overlap_area
from plugins.metrics.parts.notes import excerpt
from supervisors.comparison.intervals import Row, differences
from supervisors.evaluation.scoring import CHUNK, score_pieces, token_nats
from supervisors.evaluation.sets import tokens_for
from supervisors.generating.drawing import bar_counter
from tests.test_batches import EOS, Memory, batches
from tests.test_controls import Memory as Recurrent
from tests.test_controls import conditioned


def test_a_token_as_likely_as_the_least_share_is_kept() -> None:
    logits = torch.tensor([[0.0, math.log(0.5), math.log(0.25)]], dtype=torch.float64)
    for share, kept in ((0.5, [True, True, False]), (0.25, [True, True, True]), (1.0, [True, False, False])):
        for other in ({}, {"top_k": 3}):  # two ways, with an order and without
            left = filtered(logits, Sampling(min_p=share, **other))
            assert (left > -math.inf).tolist() == [kept], (share, other)


class Places:
    """A control whose vector at a position is the number of the position, and one more for each semitone."""

    width, count = 1, 1

    def of(self, split: str, piece: int, positions: int, semitones: int = 0, epoch: int | None = None) -> Any:
        rows = np.arange(positions, dtype=np.float32)[:, None]
        return rows + 1000 * piece, np.ones(1, dtype=bool)


def test_a_crop_knows_what_holds_where_it_lies() -> None:
    pieces = [list(range(10, 10 + count)) for count in (50, 7)]  # one is cut, and token j is id 10 + j
    made = batches(Memory(*pieces), length=16, batch_size=8, beside=Places())
    batch = made.batch(0, 0, 0, 1)
    found = set()
    for target, known, given in zip(
        batch["targets"].flatten().tolist(), batch["controls"].flatten().tolist(), batch["given"].flatten().tolist()
    ):
        if target == -100:
            continue
        assert given
        piece, place = divmod(int(known), 1000)
        found.add((piece, place))
        assert target == (EOS if place == len(pieces[piece]) else pieces[piece][place])
    assert {place for piece, place in found if piece == 0} == set(range(51)), "also what lies behind the cuts"


def test_chunks_of_a_long_piece_know_what_the_whole_knows() -> None:
    length = CHUNK + 40
    torch.manual_seed(3)
    model, ids = conditioned([2]), torch.randint(0, 9, (1, length))
    known = Known(torch.randn(1, length, 2), torch.ones(1, length, 1, dtype=torch.bool))
    targets = torch.randint(0, 9, (1, length))
    with torch.no_grad():
        logits, _ = model(ids, known=known)
    expected = -logits.log_softmax(-1)[0, torch.arange(length), targets[0]]
    found = token_nats(model, ids, targets, contextlib.nullcontext(), known)
    torch.testing.assert_close(found[0], expected.double(), rtol=1e-5, atol=1e-5)


class Adding(nn.Module):
    """A backbone that adds what it reads to its state, in place, as it may."""

    dim, packs = 4, False

    def init_state(self, batch: int, max_length: int) -> dict[str, Tensor]:
        return {"sum": torch.zeros(batch, 4)}

    def forward(self, x: Tensor, state: Any = None, starts: Tensor | None = None) -> tuple[Tensor, Any]:
        given = self.init_state(len(x), 0) if state is None else state
        hidden = x.cumsum(1) + given["sum"][:, None]
        if state is None:
            return hidden, None
        state["sum"].add_(x.sum(1))
        return hidden, state


def test_what_was_kept_stays_though_a_backbone_writes_in_place() -> None:
    model = LanguageModel(Adding(), 9)
    lines = [Line(model, Wish(Sampling()), [3, 4], (1, 2, 0)) for _ in range(2)]
    kept = Kept(torch.zeros(1, 4), {"sum": torch.ones(1, 4)})
    found = []
    for line in lines:
        line.resume(kept)
        line.read([5, 6])
        found.append(line.hidden)
    assert torch.equal(kept.state["sum"], torch.ones(1, 4)) and torch.equal(kept.hidden, torch.zeros(1, 4))
    assert torch.equal(*found)
    rows = model.embedding.weight.detach()[[5, 6]].sum(0)
    torch.testing.assert_close(found[0][0], rows + 1)


def test_a_third_stream_is_told_the_second() -> None:
    torch.manual_seed(1)
    model = LanguageModel(Recurrent(8), (5, 4, 6)).eval()
    ids, targets = (torch.stack([torch.randint(0, size, (2, 3)) for size in (5, 4, 6)], -1) for _ in range(2))
    found, _ = model.loss(ids, targets)
    w = {name: value.double() for name, value in model.state_dict().items()}
    with torch.no_grad():
        hidden = model.read(ids)[0].double()
    tables = [w["embedding.weight"], w["chain.0.embedding.weight"], w["chain.1.embedding.weight"]]  # tied to the heads
    for stream, size in enumerate((5, 4, 6)):
        if stream:
            before = tables[stream - 1][targets[..., stream - 1]]
            before = before / (before.pow(2).mean(-1, keepdim=True) + torch.finfo(torch.float32).eps).sqrt()
            link = f"chain.{stream - 1}"
            inner = torch.nn.functional.gelu(hidden + before @ w[f"{link}.known.weight"].T)
            hidden = hidden + inner @ w[f"{link}.out.weight"].T
        logs = (hidden @ tables[stream].T)[..., :size].log_softmax(-1)
        expected = -logs.gather(-1, targets[..., stream, None])[..., 0]
        torch.testing.assert_close(found[..., stream].double(), expected, rtol=1e-4, atol=1e-5)


def test_three_streams_are_drawn_as_they_are_scored() -> None:
    torch.manual_seed(1)
    model = LanguageModel(Recurrent(8), (6, 4, 5)).eval()
    for parameter in model.parameters():
        parameter.data.mul_(20)  # far from even
    for parameter in model.chain.parameters():
        parameter.data.mul_(12)
    (piece,) = generate(model, [[]], bos_id=1, eos_id=2, pad_id=0, length=12, sampling=Sampling(temperature=0))
    read = torch.tensor([[[1, 0, 0], *piece.ids]])  # 1 l k
    with torch.no_grad():
        nats = {}
        for stream, size in enumerate((6, 4, 5)):
            for id in range(size):
                targets = read[:, 1:].clone()
                targets[..., stream] = id
                nats[stream, id] = model.loss(read[:, :-1], targets)[0][0, :, stream]
    for place, token in enumerate(piece.ids):
        for stream, id in enumerate(token):
            others = range((6, 4, 5)[stream]) if stream else range(3 if place == 0 else 2, 6)  # no end at once
            costs = [float(nats[stream, other][place]) for other in others]
            assert id == others[costs.index(min(costs))]
    line, company = Line(model, Wish(Sampling(temperature=0)), [], (1, 2, 0)), Company(model)
    line.begin([], 20)
    company.join(line)
    assert [drawn.token for _ in piece.ids for drawn in company.step()] == piece.ids


def test_music_beyond_an_excerpt_is_cut_there() -> None:
    score = symusic.Score(480)
    score.tracks.append(symusic.Track())
    for time, duration in ((0, 960), (480, 4800), (1440, 120), (1920, 480)):
        score.tracks[0].notes.append(symusic.Note(time, duration, 60, 80))
    part = excerpt(score, 1.0, 4.0)
    assert [(note.time, note.duration) for note in part.tracks[0].notes] == [(0, 1440), (960, 120)]


def test_more_pieces_than_count_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = []
    for number in range(6):
        score = symusic.Score(480)
        score.tracks.append(symusic.Track())
        for step in range(8):
            score.tracks[0].notes.append(symusic.Note(step * 240, 240, 50 + (step * (number + 2)) % 17, 80))
        scores.append(score)
    assert overlap_area.overlap_area(scores, scores)["n"] == 6
    monkeypatch.setattr(overlap_area, "LARGEST", 4)
    assert overlap_area.overlap_area(scores, scores)["n"] == 4


def test_both_ends_of_a_label_may_be_asked_for() -> None:
    control = Label(LabelHParams(column="bpm", span=[60.0, 180.0]))
    assert control.parse("60").tolist() == [1.0, *[0.0] * 8]
    assert control.parse("180").tolist() == [*[0.0] * 8, 1.0]
    assert control.parse("67.5").tolist() == [0.5, 0.5, *[0.0] * 7]
    for beyond in ("59.9", "180.1"):
        with pytest.raises(ValueError, match="a number from 60 to 180"):
            control.parse(beyond)


@pytest.mark.parametrize(("pieces", "better"), [(8, "low"), (7, "")])
def test_eight_pieces_rank_and_seven_do_not(pieces: int, better: str) -> None:
    notes = np.full(pieces, 10.0)
    nats = 20.0 + np.arange(pieces) % 2 + np.arange(3)[:, None] / 100  # (s p)
    (found,) = differences([Row("high", nats + 10, notes), Row("low", nats, notes)])
    assert found.estimate.value == pytest.approx(1.0) and found.estimate.low > 0
    assert found.better == better


@pytest.mark.parametrize("training", [True, False])
def test_scoring_leaves_a_model_in_its_mode(training: bool) -> None:
    model = conditioned([]).train(training)
    seen = []
    model.backbone.register_forward_pre_hook(lambda module, given: seen.append(module.training))
    batch = {"ids": torch.tensor([[1, 4]]), "targets": torch.tensor([[4, 2]]), "pieces": [0]}
    (score,) = score_pieces(model, [batch], [[0] * 9], contextlib.nullcontext())
    assert score.tokens == 2 and seen == [False], "without dropout"
    assert model.training is training and model.backbone.training is training


def test_bars_are_counted_behind_the_prompt() -> None:
    tokenizer: Any = SimpleNamespace(bar_starts=lambda ids: [at for at, id in enumerate(ids) if id == 3])
    prompt = [3, 5, 3, 5]
    stop = bar_counter(tokenizer, prompt, 2)
    assert not stop(0, [*prompt, 3, 5, 3, 5]), "two bars of its own"
    assert stop(0, [*prompt, 3, 5, 3, 5, 3]), "the third begins"
    alone = bar_counter(tokenizer, [], 1)
    assert not alone(0, [3, 5]) and alone(0, [3, 5, 3])


@pytest.mark.parametrize(("value", "end"), [(64, 2.0), (63, 1.0)])
def test_a_pedal_holds_from_its_middle_on(value: int, end: float) -> None:
    score = symusic.Score(480)
    score.tracks.append(symusic.Track())
    score.tracks[0].notes.append(symusic.Note(480, 480, 60, 80))  # to one second, at 120 quarters a minute
    for time, pressed in ((0, value), (1920, 63)):
        score.tracks[0].controls.append(symusic.ControlChange(time, 64, pressed))
    (note,) = sound._notes(score.to("second").tracks[0])
    assert (note.start, note.end) == pytest.approx((0.5, end))


def test_gradients_flow_through_a_cache_that_is_written_again() -> None:
    torch.manual_seed(0)
    model = transformer.build(TransformerHParams(dim=16, layers=2, heads=2, dropout=0.0)).double()
    x = torch.randn(2, 5, 16, dtype=torch.float64, requires_grad=True)
    whole, _ = model(x)
    (expected,) = torch.autograd.grad((whole**2).sum(), x)
    first, state = model(x[:, :3], model.init_state(2, 5))
    second, _ = model(x[:, 3:], state)
    (found,) = torch.autograd.grad((first**2).sum() + (second**2).sum(), x)
    torch.testing.assert_close(found, expected)


def test_seeds_of_neighbouring_numbers_are_others() -> None:
    parts = [("a", 1, 23), ("a", 12, 3), ("a", 123), ("a1", 23), ("a", 23, 1)]
    assert len({derive(*each) for each in parts}) == 5
    assert derive("a", 1, 23) == derive("a", "1", "23") < 2**63


@pytest.mark.parametrize(("pitches", "clef"), [([57, 57], ("G", "2")), ([57, 56], ("F", "4")), ([40, 84], ("G", "2"))])
def test_music_below_the_a_under_middle_c_has_a_bass_clef(pitches: list[int], clef: tuple[str, str]) -> None:
    score = symusic.Score(480)
    score.tracks.append(symusic.Track())
    for step, pitch in enumerate(pitches):
        score.tracks[0].notes.append(symusic.Note(480 * step, 480, pitch, 80))
    root = musicxml.document(score)
    assert (root.findtext(".//clef/sign"), root.findtext(".//clef/line")) == clef


def test_enough_tokens_for_nine_of_ten_pieces() -> None:
    rates = [*range(10, 120, 10), 5]  # tokens a beat; of one piece nothing is known
    lengths = [2.0] * 11 + [0.0]
    assert tokens_for([2 * rate for rate in rates], lengths, 4.0) == 400  # ten of the eleven need 100 a beat at most
    assert tokens_for([5], [0.0], 4.0) == 1024


def test_a_piece_is_cut_at_every_place_of_a_row() -> None:
    found = set()
    for seed in range(60):
        made = plan(np.array([9]), [np.zeros(0, dtype=np.int64)], 4, np.random.default_rng(seed), packs=True)
        begins = sorted(made.begin.tolist())
        assert begins == [0, *range(begins[1], 9, 4)][: len(begins)] and sorted(made.end.tolist())[-1] == 9
        found.add(begins[1])
    assert found == {1, 2, 3, 4}
