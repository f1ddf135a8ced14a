"""Controls: their laws, their vectors beside the tokens, what the model makes of them, and what a person may ask."""

import json
import math
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import symusic
import torch

from core.errors import HubError
from core.model.conditioning import Known
from core.model.generation import generate
from core.model.language_model import LanguageModel
from core.model.sampling import Sampling
from datatools.batching.batches import Batches, whole
from datatools.batching.controls import Beside
from datatools.preparing.cache import TokenStore, prepare
from datatools.preparing.controls import ControlStore, Wanted, prepare_controls
from datatools.reading.scores import piece_from_score
from hparams.base import AugmentHParams, DataHParams
from hparams.controls import DensityHParams, DensitySecondsHParams, KeyHParams, PitchHistogramHParams
from hparams.loading import dump, from_tree, override, plain
from plugins.checks import control_checks, control_laws
from plugins.controls import density, key, windows
from plugins.datasets.folder import Folder
from plugins.laws.pieces import specimens
from plugins.manager import load_manager
from supervisors.artefacts import described
from supervisors.generating.asked import asked_of
from supervisors.run import main
from supervisors.training.data import controls as run_controls
from supervisors.training.token_supervisor import TokenSupervisor
from tests.reference_tokenizer import ReferenceTokenizer, ReferenceTokenizerHParams
from tests.test_model import Memory
from tests.test_streams import Normal
from tests.third_party.pairs_example.pairs_plugin import Pairs, PairsHParams
from tests.third_party.register_example.register_plugin import Register, RegisterHParams

TOKENIZERS = [lambda: ReferenceTokenizer(ReferenceTokenizerHParams()), lambda: Pairs(PairsHParams())]


@pytest.mark.parametrize(*control_checks(density.build, DensityHParams(), TOKENIZERS))
def test_density_keeps_the_law(law) -> None:
    law()


@pytest.mark.parametrize(*control_checks(key.build, KeyHParams(), TOKENIZERS))
def test_key_keeps_the_law(law) -> None:
    law()


class NoWidth(Register):
    dim = 0


class TooWide(Register):
    def of(self, piece, ids, tokenizer):
        return np.ones(3, dtype=np.float32)


class DividesByNothing(Register):
    def of(self, piece, ids, tokenizer):
        return super().of(piece, ids, tokenizer) * np.float32(np.nan)


class Forgetful(Register):
    calls = 0

    def of(self, piece, ids, tokenizer):
        Forgetful.calls += 1
        return super().of(piece, ids, tokenizer) + np.float32(Forgetful.calls)


class DrawnAnew(Register):
    """What it gives was drawn when it was built."""

    built = 0

    def __init__(self, hparams):
        super().__init__(hparams)
        DrawnAnew.built += 1
        self.shift = np.float32(DrawnAnew.built)

    def of(self, piece, ids, tokenizer):
        return super().of(piece, ids, tokenizer) + self.shift


class TakesNonsense(Register):
    def parse(self, text):
        return self.vector(64)


class StaysPut(Register):
    def transposed(self, vector, semitones):
        return vector


class RollsTheWrongWay(key.Key):
    def transposed(self, vector, semitones):
        return super().transposed(vector, -semitones)


class MixesModes(key.Key):
    def transposed(self, vector, semitones):
        return np.roll(vector, semitones, axis=-1)


class SortsTheIds(Register):
    def of(self, piece, ids, tokenizer):
        ids.sort()
        return super().of(piece, ids, tokenizer)


class MakesEverythingSoft(Register):
    def of(self, piece, ids, tokenizer):
        for track in piece.score.tracks:
            for note in track.notes:
                note.velocity = 1
        return super().of(piece, ids, tokenizer)


class OneVectorForAll(Register):
    vector_of_all = np.zeros(1, dtype=np.float32)

    def of(self, piece, ids, tokenizer):
        self.vector_of_all[:] = super().of(piece, ids, tokenizer)
        return self.vector_of_all


class MovesTheFirstRow(Register):
    def transposed(self, vector, semitones):
        return super().transposed(np.ravel(vector)[:1], semitones)


class ReadsAnOctaveOff(Register):
    def number(self, vectors):
        return super().number(vectors) + 12


class ReadsTheFirstRowAlone(Register):
    def number(self, vectors):
        return np.full(vectors.shape[:-1], super().number(np.atleast_2d(vectors))[0])


class AsksForOneThing(Register):
    numbers = (64,)


class TakesNoNumber(Register):
    def parse(self, text):
        found = float(text)
        if found < 0 or found > 127:
            raise ValueError("expected 0 to 127")
        return self.vector(found)


@pytest.mark.parametrize(
    ("fault", "name"),
    [
        (SortsTheIds, "piece and ids left alone"),
        (MakesEverythingSoft, "piece and ids left alone"),
        (OneVectorForAll, "piece and ids left alone"),
        (MovesTheFirstRow, "commutes with transposition"),
        (TakesNoNumber, "parses what it describes"),
        (ReadsAnOctaveOff, "its numbers are those it parses"),
        (ReadsTheFirstRowAlone, "its numbers are those it parses"),
        (AsksForOneThing, "its numbers are those it parses"),
        (NoWidth, "declares its width"),
        (TooWide, "gives vectors of its width"),
        (DividesByNothing, "is finite"),
        (Forgetful, "deterministic"),
        (DrawnAnew, "deterministic"),
        (TakesNonsense, "parses what it describes"),
        (StaysPut, "commutes with transposition"),
        (lambda hparams: RollsTheWrongWay(), "commutes with transposition"),
        (lambda hparams: MixesModes(), "commutes with transposition"),
    ],
)
def test_a_fault_is_caught_by_its_law(fault, name: str) -> None:
    (law,) = [law for law in control_laws(fault, RegisterHParams(), TOKENIZERS) if law.name == name]
    verdict = law.judge()
    assert verdict.passed is False and verdict.detail


def test_a_deaf_gate_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub's own part of the bargain: left out, a vector must not be heard."""
    from core.model import conditioning

    monkeypatch.setattr(conditioning.torch, "where", lambda given, value, null: value + null)
    (law,) = [law for law in control_laws(Register, RegisterHParams(), TOKENIZERS) if law.name.startswith("absent")]
    assert law.judge().passed is False


def test_density_by_hand() -> None:
    """Three notes in each of four bars."""
    tokenizer = ReferenceTokenizer(ReferenceTokenizerHParams())
    piece = next(one.piece for one in specimens() if one.name == "chords")
    ids = tokenizer.encode(piece)
    rows = density.Density().of(piece, ids, tokenizer)
    assert rows.shape == (len(ids), 12) and (rows.argmax(1) == 3).all() and (rows.sum(1) == 1).all()
    assert [int(density.Density().parse(text).argmax()) for text in ("0", "3", "5", "7", "100")] == [0, 3, 4, 5, 11]
    asked = [int(density.Density().parse(str(notes)).argmax()) for notes in (1, 2, 8, 11, 12, 16, 24, 32, 47, 48, 256)]
    assert asked == [1, 2, 6, 6, 7, 8, 9, 10, 10, 11, 11]


@pytest.mark.parametrize("name", ["density_seconds", "pitch_histogram"])
def test_windows_of_seconds_keep_the_laws(name: str) -> None:
    entry = load_manager().controls[name]
    tokenizers = [made("performance_240"), TOKENIZERS[0]]
    for law in control_laws(entry.build, entry.hparams(), tokenizers):
        law()


def made(name: str):
    entry = load_manager().tokenizers[name]
    return lambda: entry.build(entry.hparams())


def test_two_seconds_by_hand() -> None:
    """Every half second a note, C, E, G in turn, each told when it begins."""
    score = symusic.Score(480)
    score.tempos.append(symusic.Tempo(0, 120))
    score.tracks.append(symusic.Track())
    for at in range(12):
        score.tracks[0].notes.append(symusic.Note(480 * at, 480, (60, 64, 67)[at % 3], 80))
    tokenizer = made("performance_388")()
    ids = tokenizer.encode(piece_from_score(score, source="made"))
    times = tokenizer.times(ids)
    histogram = load_manager().make("control", PitchHistogramHParams()).of(None, ids, tokenizer)
    dense = load_manager().make("control", DensitySecondsHParams()).of(None, ids, tokenizer)
    assert histogram.shape == dense.shape == (len(ids), 12)
    for at, time in enumerate(times):
        inside = [(60, 64, 67)[note % 3] % 12 for note in range(12) if time - 1e-4 <= note / 2 < time + 2 - 1e-4]
        expected = np.bincount(inside, minlength=12) / max(len(inside), 1)
        assert histogram[at] == pytest.approx(expected, abs=1e-6)
        assert int(dense[at].argmax()) == max(0, (len(inside) - 1) // 3)
    control = load_manager().make("control", DensitySecondsHParams())
    assert [int(control.parse(text).argmax()) for text in ("0", "0.5", "2", "17", "50")] == [0, 0, 1, 11, 11]


class Timeless:
    """Decodes to a score that it is given, and does not know when its tokens stand."""

    def __init__(self, *notes: tuple[int, int], drums: int = 0) -> None:
        self.score = symusic.Score(480)
        for number, rows in enumerate((notes, [(0, 36)] * drums)):
            self.score.tracks.append(symusic.Track("", 0, bool(number)))
            for start, pitch in rows:
                self.score.tracks[number].notes.append(symusic.Note(start, 480, pitch, 80))

    def decode(self, ids: object) -> "Timeless":
        return self


def test_a_whole_piece_is_brought_to_two_seconds() -> None:
    """At 120 a minute: 16 notes in 8 seconds are 4 in 2; three in one second stay three; drums are no pitches."""
    histogram = load_manager().make("control", PitchHistogramHParams())
    dense = load_manager().make("control", DensitySecondsHParams())
    long = Timeless(*((480 * n, 60 + 7 * (n % 4 == 3)) for n in range(16)), drums=5)
    assert windows.counts([], long).sum() == pytest.approx(4)
    assert histogram.of(None, [1, 2], long)[[0, 7]] == pytest.approx([0.75, 0.25])
    assert int(dense.of(None, [1, 2], long).argmax()) == 1  # 4 to 6 notes
    assert windows.counts([], Timeless((0, 60), (480, 62), (480, 64))).sum() == 3
    with pytest.raises(ValueError, match="no notes with a pitch"):
        windows.counts([], Timeless(drums=3))


def test_weights_of_pitches_are_shares() -> None:
    histogram = load_manager().make("control", PitchHistogramHParams())
    assert histogram.parse("2,0,0,0,0,0,0,6,0,0,0,0")[[0, 7]] == pytest.approx([0.25, 0.75])
    for wrong in ("1,2", "-1,2,0,0,0,0,0,0,0,0,0,0", "0,0,0,0,0,0,0,0,0,0,0,0", "x"):
        with pytest.raises(ValueError, match="twelve weights of 0 or more"):
            histogram.parse(wrong)
    assert histogram.transposed(np.eye(12)[11], 2).argmax() == 1


def test_key_by_hand() -> None:
    piece = next(one.piece for one in specimens() if one.name == "a scale")
    assert int(key.Key().of(piece, [], None).argmax()) == 0
    asked = [int(key.Key().parse(text).argmax()) for text in ("C major", "Bb major", "f# minor", "A minor")]
    assert asked == [0, 10, 12 + 6, 12 + 9]
    asked = [int(key.Key().parse(text).argmax()) for text in ("Dmaj", "Dm", "F#min", " Eb maj ", "bb minor", "Bm")]
    assert asked == [2, 12 + 2, 12 + 6, 3, 12 + 10, 12 + 11]  # as people write them, and as ABC does
    asked = [int(key.Key().parse(text).argmax()) for text in ("D", "Bb", "F#", "E♭", "Dmajor", "d_minor", "G-minor")]
    assert asked == [2, 10, 6, 3, 2, 12 + 2, 12 + 7]  # a tonic alone is major, as in ABC
    with pytest.raises(ValueError, match='key is \'eb\'; did you mean "Eb major" or "Eb minor"'):
        key.Key().parse("eb")
    for wrong in ("H", "D dorian", "Hmaj", "D majority", "Dmajor minor", "", "D#b", "DM"):
        with pytest.raises(ValueError, match="expected a tonic from A to G"):
            key.Key().parse(wrong)


def conditioned(widths: list[int], vocabulary: int = 9) -> LanguageModel:
    torch.manual_seed(0)
    model = LanguageModel(Memory(16), vocabulary, controls=widths)
    if model.conditioning is not None:
        for null in model.conditioning.nulls:
            torch.nn.init.normal_(null)
    return model.eval()


def test_without_controls_a_model_is_that_of_before() -> None:
    plain, none = LanguageModel(Memory(16), 9), conditioned([])
    assert none.conditioning is None and list(none.state_dict()) == list(plain.state_dict())
    torch.manual_seed(0)
    same = LanguageModel(Memory(16), 9, controls=[3])
    assert all(torch.equal(value, same.state_dict()[name]) for name, value in none.state_dict().items())


def test_a_position_knows_what_holds_for_the_next_token() -> None:
    model, ids = conditioned([2, 3]), torch.randint(0, 9, (2, 5))
    values, given = torch.randn(2, 5, 5), torch.ones(2, 5, 2, dtype=torch.bool)
    given[1, :, 0] = False
    hidden, _ = model.read(ids, known=Known(values, given))
    weights = model.state_dict()
    for row in range(2):
        parts = [
            values[row, :, :2] @ weights["conditioning.maps.0.weight"].T
            if row == 0
            else weights["conditioning.nulls.0"].expand(5, -1),
            values[row, :, 2:] @ weights["conditioning.maps.1.weight"].T,
        ]
        x = weights["embedding.weight"][ids[row]] + parts[0] + parts[1]
        expected, _ = model.backbone(x[None])
        torch.testing.assert_close(hidden[row], expected[0])
    unknown, _ = model.read(ids)
    nothing, _ = model.read(ids, known=Known(values, torch.zeros_like(given)))
    assert torch.equal(unknown, nothing), "to the last bit"


def test_a_model_learns_to_follow_and_to_do_without() -> None:
    """The control names the token: known, it costs nothing; unknown, ln 4; guidance draws what was asked for."""
    torch.manual_seed(0)
    model = LanguageModel(Normal(16), 8, controls=[4])
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-2)
    for _ in range(80):
        named = torch.randint(0, 4, (32,))
        values = torch.nn.functional.one_hot(named, 4).float()[:, None].expand(32, 3, 4)
        given = (torch.rand(32, 1, 1) < 0.7).expand(32, 3, 1)
        ids = torch.cat([torch.ones(32, 1, dtype=torch.long), (named + 3)[:, None].expand(32, 3)], 1)
        nats, _ = model.loss(ids[:, :-1], ids[:, 1:], known=Known(values, given))
        optimizer.zero_grad()
        nats.mean().backward()
        optimizer.step()
    first = nats.detach()[:, 0]
    assert float(first[given[:, 0, 0]].mean()) < 0.1
    assert float(first[~given[:, 0, 0]].mean()) == pytest.approx(math.log(4), rel=0.2)
    for asked in range(4):
        known = Known(torch.eye(4)[asked][None, None], torch.ones(1, 1, 1, dtype=torch.bool))
        made = drawn(model, [[]] * 5, known, guidance=2.0)
        assert all(piece.ids[0] == asked + 3 for piece in made)


def drawn(model: LanguageModel, prompts: list, known: Known | None = None, guidance: float = 1.0, **more: int):
    sampling = Sampling(seed=3, top_p=0.95)
    specials = {"bos_id": 1, "eos_id": 2, "pad_id": 0}
    return generate(model, prompts, length=8, sampling=sampling, known=known, guidance=guidance, **specials, **more)


PROMPTS = [[3, 4], [], [5], [6, 7, 8], [3]]


@pytest.mark.parametrize("packs", [True, False])
def test_guidance_equals_two_runs_written_out(packs: bool) -> None:
    model = conditioned([2])
    model.backbone.packs = packs
    with torch.no_grad():
        model.embedding.weight.mul_(40)
        model.conditioning.maps[0].weight.mul_(60)
    known = Known(torch.tensor([[[1.0, -2.0]]]), torch.ones(1, 1, 1, dtype=torch.bool))

    class Guided(torch.nn.Module):
        """Reads the whole prefix twice, knowing and not."""

        def __call__(self, ids: list[int]) -> torch.Tensor:
            told = torch.tensor([[1, *ids]])
            with torch.no_grad():
                knowing, without = model(told, known=known)[0][:, -1], model(told)[0][:, -1]
            return without + 2.5 * (knowing - without)

    from core.model.sampling import draw

    for row, (prompt, piece) in enumerate(zip(PROMPTS, drawn(model, PROMPTS, known, 2.5), strict=True)):
        ids = list(prompt)
        for step in range(8):
            allowed = torch.ones(1, 9, dtype=torch.bool)
            allowed[0, [0, 1, *([2] if step == 0 else [])]] = False
            id = int(draw(Guided()(ids), Sampling(seed=3, top_p=0.95), torch.tensor([row]), step, allowed))
            if id == 2:
                break
            ids.append(id)
        assert piece.ids == ids
    assert drawn(model, PROMPTS, known, 2.5, max_batch=2) == drawn(model, PROMPTS, known, 2.5)
    assert drawn(model, PROMPTS, known) != drawn(model, PROMPTS)
    absent = Known(known.values, torch.zeros(1, 1, 1, dtype=torch.bool))
    assert drawn(model, PROMPTS, absent) == drawn(model, PROMPTS)


def build_pairs(folder: Path | None = None) -> Pairs:
    return Pairs(None, folder)


def build_density() -> density.Density:
    return density.Density()


def build_register() -> Register:
    return Register(RegisterHParams())


class Picky(Register):
    """Knows nothing of pieces that begin on an even pitch."""

    def of(self, piece, ids, tokenizer):
        if ids[0][1] % 2:
            raise ValueError("it begins on an even pitch")
        return super().of(piece, ids, tokenizer)


def build_picky() -> Picky:
    return Picky(RegisterHParams())


DATA = DataHParams(workers=1)


@pytest.fixture(scope="module")
def store(music_folder: Path) -> TokenStore:
    return prepare(Folder(str(music_folder)), build_pairs, "pairs controls", DATA, progress=False)


@pytest.fixture(scope="module")
def stored(store: TokenStore, music_folder: Path) -> dict[str, ControlStore]:
    dataset = Folder(str(music_folder))
    dataset.prepare(store.folder)
    makers = {"density": build_density, "register": build_register, "picky": build_picky}
    wanted = [Wanted(name, make, f"{name} 1") for name, make in makers.items()]
    return dict(zip(makers, prepare_controls(wanted, store, dataset, build_pairs, DATA, progress=False), strict=True))


def test_vectors_lie_beside_the_tokens(store: TokenStore, stored: dict[str, ControlStore], music_folder: Path) -> None:
    pairs, control = Pairs(None), density.Density()
    for k in range(3):
        ids = store.ids("train", k).tolist()
        assert np.array_equal(stored["density"].rows("train", k), control.of(None, ids, pairs))
        pitches = [note.pitch for track in pairs.decode(ids).score.tracks for note in track.notes]
        assert stored["register"].rows("train", k) == pytest.approx((np.mean(pitches) - 60) / 12, abs=0.2)
    picky = [len(stored["picky"].rows("train", k)) for k in range(store.count("train"))]
    assert set(picky) == {0, 1} and stored["picky"].unknown > 0
    folders = sorted(path.name.partition("-")[0] for path in (store.folder / "controls").iterdir())
    assert folders == ["density", "picky", "register"]
    before = {path: path.stat().st_mtime_ns for path in (store.folder / "controls").rglob("*")}
    dataset = Folder(str(music_folder))
    prepare_controls([Wanted("register", build_register, "register 1")], store, dataset, build_pairs, DATA)
    assert before == {path: path.stat().st_mtime_ns for path in (store.folder / "controls").rglob("*")}


def test_damaged_vectors_are_named(store: TokenStore, stored: dict[str, ControlStore], tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(Wanted("register", build_register, "register 1").folder(store), folder)
    assert ControlStore(folder, store).dim == 1
    values = folder / "values.bin"
    content = bytearray(values.read_bytes())
    content[0] ^= 1
    values.write_bytes(content)
    with pytest.raises(HubError, match=r"values\.bin is not as it was written"):
        ControlStore(folder, store)
    values.write_bytes(content[:-4])
    with pytest.raises(HubError, match=r"values\.bin has \d+ bytes; expected"):
        ControlStore(folder, store)


def beside(stored: dict[str, ControlStore], dropout: float) -> Beside:
    controls = [density.Density(), build_register(), build_picky()]
    return Beside(controls, [stored[name] for name in ("density", "register", "picky")], dropout, seed=5)


def batches(store: TokenStore, known: Beside | None, transpose: int = 0) -> Batches:
    augment = AugmentHParams(transpose=transpose)
    return Batches(
        store,
        "train",
        bos_id=1,
        eos_id=2,
        pad_id=0,
        length=48,
        batch_size=4,
        seed=0,
        packs=True,
        augment=augment,
        tokenizer=Pairs(None),
        beside=known,
    )


def test_batches_know_what_holds_for_each_target(store: TokenStore, stored: dict[str, ControlStore]) -> None:
    plain, moved = batches(store, None, 4).batch(1, 0, 0, 1), batches(store, beside(stored, 0.0), 4).batch(1, 0, 0, 1)
    assert all(torch.equal(plain[key], moved[key]) for key in plain) and moved["controls"].shape == (4, 48, 14)
    ids, targets = moved["ids"], moved["targets"]
    told = targets[..., 0] != -100
    assert torch.equal(moved["given"][..., 1], told) and not moved["given"][~told].any()
    still = batches(store, beside(stored, 0.0)).batch(1, 0, 0, 1)
    by = (ids - still["ids"])[..., 1]  # semitones that each note moved
    shift = moved["controls"][..., 12] - still["controls"][..., 12]
    notes = still["ids"][..., 1] > 0
    assert by[notes].any()
    torch.testing.assert_close(shift[notes], by[notes] / 12, atol=1e-5, rtol=0)
    assert torch.equal(moved["controls"][..., :12], still["controls"][..., :12])
    pairs = Pairs(None)
    for batch in whole(store, "valid", 1, 2, 0, beside=beside(stored, 0.9)):
        for row, k in enumerate(batch["pieces"]):
            expected = density.Density().of(None, store.ids("valid", k).tolist(), pairs)
            assert np.array_equal(batch["controls"][row, : len(expected), :12], expected)
            assert batch["given"][row, : len(expected) + 1, 0].all()


def test_controls_are_left_out_by_share_alike_on_every_replica(
    store: TokenStore, stored: dict[str, ControlStore]
) -> None:
    known = beside(stored, 0.3)
    positions = len(store.ids("train", 0)) + 1
    draws = np.array([known.of("train", 0, positions, epoch=epoch)[1] for epoch in range(400)])
    assert (~draws[:, :2]).mean(0) == pytest.approx([0.3, 0.3], abs=0.07)
    assert abs(np.corrcoef(draws[:, 0], draws[:, 1])[0, 1]) < 0.15, "each by itself"
    alone, parts = batches(store, known).batch(2, 0, 0, 1), [batches(store, known).batch(2, 0, r, 2) for r in (0, 1)]
    for key_ in ("controls", "given"):
        assert torch.equal(alone[key_], torch.cat([part[key_] for part in parts]))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["model.controls=[densty]"], 'Did you mean "density"?'),
        (["model.controls=[density,density]"], "model.controls is"),
        (["model.control_dropout=1.5"], "model.control_dropout is 1.5"),
        (
            ["generate.controls.density=4"],
            "generate.controls.density: this model was trained without controls; to",
        ),
        (
            ["model.controls=[key]", "generate.controls.density=4"],
            "trained with the control key alone; to ask for density, train one with model.controls=[key,density]",
        ),
        (["model.controls=[key]", "generate.controls.tempo=4"], 'there is no control "tempo". Known: density'),
        (["model.controls=[key]", "generate.controls.key=d"], """did you mean "D major" or "D minor"?"""),
        (["model.controls=[density]", "generate.controls.density=many"], "whole number from 0 to 256"),
        (["model.controls=[density]", "generate.controls.density=400"], "whole number from 0 to 256"),
        (["model.controls=[key]", "generate.controls.key=H major"], "a tonic from A to G"),
        (["generate.guidance=2"], "generate.guidance is 2, but nothing is asked for"),
        (["generate.guidance=-1"], "generate.guidance is -1"),
        (["tokenizer=grid", "model.controls=[density]", "generate.controls=3"], "generate.controls"),
    ],
)
def test_wrong_input_is_one_line_before_anything_is_read(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SWAPTUNES_RUNS", str(tmp_path))
    monkeypatch.setenv("SWAPTUNES_CACHE", str(tmp_path / "cache"))
    filled = ["--hparams", "tiny", "dataset=folder", f"dataset.path={tmp_path}", "train.engine=torch", *words]
    with pytest.raises(SystemExit) as stop:
        raise SystemExit(main(filled))
    said = capsys.readouterr().err
    assert stop.value.code == 2 and message in said and said.strip().count("\n") == 0, said
    assert not (tmp_path / "cache").exists(), "nothing was read"


@pytest.mark.parametrize(
    ("tokenizer", "controls", "message"),
    [
        (Pairs(None), [], "tokenizer remi has 2 streams and supervisor language_model takes one"),
        (TOKENIZERS[0](), ["density"], r"model.controls is \['density'\] and supervisor language_model takes none"),
    ],
)
def test_a_supervisor_gets_no_more_than_it_takes(
    tokenizer: object, controls: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A supervisor of somebody who thought of one stream and no controls, before its data is read."""
    hparams = load_manager().preset("tiny")
    hparams.model.controls, hparams.tokenizer = controls, load_manager().section("tokenizer", "remi")
    monkeypatch.setattr(described, "build_tokenizer", lambda *found: tokenizer)
    with pytest.raises(HubError, match=message):
        TokenSupervisor(hparams, load_manager(), tmp_path).load_data()


def test_vectors_are_kept_by_all_that_they_hang_on(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[list[Wanted]] = []
    monkeypatch.setattr(run_controls, "prepare_controls", lambda wanted, *given: told.append(wanted) or "stores")
    monkeypatch.setattr(run_controls, "Beside", lambda *given: given)
    hparams = load_manager().preset("tiny")
    store: Any = None
    assert run_controls.stored(load_manager(), hparams, store, store, store) is None
    hparams.model.controls, hparams.model.control_dropout, hparams.seed = ["label", "key"], 0.25, 9
    for words in (["a", "b"], ["a", "c"], ["a", "b"]):
        hparams.controls = {"label": {"column": "x", "words": words}}
        found: Any = run_controls.stored(load_manager(), hparams, store, store, store)
        assert found[1:] == ("stores", 0.25, 9) and [type(control).__name__ for control in found[0]] == ["Label", "Key"]
        assert [one.name for one in told[-1]] == ["label", "key"]
    first, second, third = ([one.key for one in wanted] for wanted in told)
    assert first == third and first[1] == second[1] and first[0] != second[0], "other words, other vectors"
    assert all(part in first[0] for part in ("label", "swaptunes", load_manager().controls["label"].version))


def test_what_is_asked_stands_at_its_control_s_place(monkeypatch: pytest.MonkeyPatch) -> None:
    made = [SimpleNamespace(dim=2, parse=lambda text: np.array([len(text), 9.0])), SimpleNamespace(dim=3)]
    made.append(SimpleNamespace(dim=1, parse=lambda text: np.array([float(text)])))
    monkeypatch.setattr(run_controls, "controls_of", lambda manager, hparams: made)
    monkeypatch.setattr(run_controls, "_section", lambda manager, hparams, name: SimpleNamespace(column=f"c{name}"))
    hparams = load_manager().preset("tiny")
    hparams.model.controls, hparams.generate.controls = ["a", "b", "d"], {"d": 0, "a": "xyz"}
    known = asked_of(load_manager(), hparams)
    assert known is not None and known.values.tolist() == [[[3, 9, 0, 0, 0, 0]]] and known.values.dtype == torch.float32
    assert known.given.tolist() == [[[True, False, True]]], "nothing and nought are two things"
    for wish, guidance, said in (
        ({"e": 1}, 1, r"generate.controls.e: this model was trained with the controls a, b, d; there is no control"),
        ({"cb": 1}, 1, 'Did you mean "b"'),
        ({"d": "x"}, 1, "generate.controls.d: could not convert"), ({}, 2, "guidance is 2, but nothing is asked for"),
    ):  # fmt: skip
        hparams.generate.controls, hparams.generate.guidance = wish, guidance
        with pytest.raises(HubError, match=said):
            asked_of(load_manager(), hparams)


def test_settings_are_kept_as_they_were_asked() -> None:
    manager = load_manager()
    words = ["model.controls=[density,key]", "generate.controls.density=4", "generate.controls.key=A minor"]
    hparams = override(manager.preset("tiny"), words, section=manager.section)
    assert hparams.model.controls == ["density", "key"]
    assert hparams.generate.controls == {"density": 4, "key": "A minor"}
    again = from_tree(json.loads(json.dumps(plain(hparams))), "a file", manager.section)
    assert dump(again) == dump(hparams)
