"""Octuple and compound words against MidiTok's own tokens, their laws with every option, and their grammars."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import symusic
import torch

from core.contracts.tokenizer import token_names
from core.errors import HubError
from datatools.reading.scores import piece_from_score, read
from hparams.tokenizers.compound import CpWordHParams, OctupleHParams
from plugins.checks import tokenizer_checks, tokenizer_laws
from plugins.laws.pieces import heard
from plugins.tokenizers import cpword, octuple
from plugins.tokenizers.compound.note_grammar import KEY, WholeNoteGrammar
from plugins.tokenizers.note_tokens.options import config, library
from plugins.tokenizers.note_tokens.quantise import quantise
from supervisors.evaluation.scoring import IGNORED, piece_score
from tests.odd_pieces import piece

BAND = Path(__file__).parent / "music" / "band.mid"
ALL: dict[str, Any] = {"use_velocities": True, "use_tempos": True, "use_programs": True}
OPTIONS: list[dict[str, Any]] = [
    {},
    ALL,
    {"use_programs": True, "use_pitchdrum_tokens": False, "beat_res": {"0_2": 8, "2_4": 2}},
]


@pytest.mark.parametrize(*tokenizer_checks(octuple.build, OctupleHParams(**ALL)))
def test_the_laws_hold_with_all_that_can_be_told(law: Any) -> None:
    law()


@pytest.mark.parametrize(*tokenizer_checks(cpword.build, CpWordHParams(**ALL)))
def test_the_laws_of_words_hold_with_all_that_can_be_told(law: Any) -> None:
    law()


@pytest.mark.parametrize("options", OPTIONS)
def test_tokens_are_miditoks_in_another_order(options: dict[str, Any]) -> None:
    hparams = OctupleHParams(**options)
    tokenizer = octuple.build(hparams)
    other = library().Octuple(config(hparams, "Octuple"))
    for source in [read(BAND), *(piece(seed) for seed in range(4))]:
        ids = tokenizer.encode(source)
        score = quantise(source.score, tokenizer.grid)
        found = other.encode(score, no_preprocess_score=True)
        theirs = (found[0] if isinstance(found, list) else found).tokens
        places = [other.vocab_types_idx[kind] for kind in tokenizer.kinds]
        expected = [[token[place] for place in places] for token in theirs]
        assert sorted(token_names(tokenizer, token) for token in ids) == sorted(expected)
        assert ids == sorted(ids, key=lambda token: token[:2])


@pytest.mark.parametrize("options", OPTIONS)
def test_words_are_miditoks_in_another_order(options: dict[str, Any]) -> None:
    hparams = CpWordHParams(**options)
    tokenizer = cpword.build(hparams)
    other = library().CPWord(config(hparams, "CPWord"))
    for source in [read(BAND), *(piece(seed) for seed in range(4))]:
        found = other.encode(quantise(source.score, tokenizer.grid), no_preprocess_score=True)
        theirs = (found[0] if isinstance(found, list) else found).tokens
        places = [other.vocab_types_idx[kind] for kind in tokenizer.kinds]
        expected = [[token[place] for place in places] for token in theirs]
        assert [token_names(tokenizer, token) for token in tokenizer.encode(source)] == expected


@pytest.mark.parametrize("options", [{}, ALL, {"pitch_range": (60, 61)}])
def test_every_word_drawn_survives(options: dict[str, Any]) -> None:
    tokenizer = cpword.build(CpWordHParams(**options))
    for ids in walked(tokenizer.grammar(), 1, rows=12, most=60):
        while ids[-1][0] != cpword.NOTE:
            ids.pop()
        decoded = tokenizer.decode(ids)
        assert len(heard(decoded)) == sum(token[0] == cpword.NOTE for token in ids) > 0
        assert heard(tokenizer.decode(tokenizer.encode(decoded))) == heard(decoded)
    for ids in walked(tokenizer.grammar(length=7), 3, rows=8, most=9):
        assert len(ids) <= 7 and ids[-1][0] == cpword.NOTE


def line(*onsets: int) -> Any:
    """Quarters that begin at these quarters."""
    score = symusic.Score(4)
    score.tracks.append(symusic.Track())
    for onset in onsets:
        score.tracks[0].notes.append(symusic.Note(4 * onset, 4, 60, 64))
    return piece_from_score(score, source="line")


def test_a_token_by_hand() -> None:
    tokenizer = octuple.build(OctupleHParams(max_bar_embedding=3))
    ids = tokenizer.encode(line(0, 5, 11, 12))  # the last is in bar 3, the fourth
    names = [" ".join(token_names(tokenizer, token)) for token in ids]
    assert names == [
        "Bar_0 Position_0 Pitch_60 Duration_1.0.12",
        "Bar_1 Position_12 Pitch_60 Duration_1.0.12",
        "Bar_2 Position_36 Pitch_60 Duration_1.0.12",
    ]
    assert tokenizer.bar_starts(ids) == [0, 1, 2]
    assert tokenizer.vocab_sizes == (3 + 3, 48, 109 - 21 + 1 + 88 - 27 + 1, len(tokenizer.lengths))
    with pytest.raises(ValueError, match="line: the vocabulary can tell none"):
        tokenizer.encode(line(12))


def walked(grammar: Any, seed: int, rows: int, most: int) -> list[list[list[int]]]:
    """Rows drawn under a grammar by someone who likes to stay in a bar."""
    drawn = torch.Generator().manual_seed(seed)
    state, ids = grammar.begin(rows), [[] for _ in range(rows)]  # type: list[list[list[int]]]
    over = [False] * rows
    for _ in range(most):
        first = grammar.allowed(state)
        assert first.any(1).all()
        weights = first * torch.rand(first.shape, generator=drawn) * 0.5 ** torch.arange(first.shape[1])
        weights[:, grammar.eos_id] *= 1e-3
        known = weights.argmax(1, keepdim=True)
        over = [was or bool(now) for was, now in zip(over, known[:, 0] == grammar.eos_id, strict=True)]
        for _ in grammar.sizes[1:]:
            mask = grammar.allowed(state, known)
            assert (mask.any(1) | torch.tensor(over)).all()
            known = torch.cat([known, (mask * torch.rand(mask.shape, generator=drawn)).argmax(1, keepdim=True)], 1)
        for row, token in enumerate(known.tolist()):
            if not over[row]:
                ids[row].append(token)
        if all(over):
            break
        state = grammar.advance(state, known)
    return ids


@pytest.mark.parametrize(
    "options", [{}, ALL, {"pitch_range": (60, 61)}, {"pitch_range": (60, 61), "beat_res": {"0_9": 2}}]
)
def test_every_token_drawn_is_a_note_that_survives(options: dict[str, Any]) -> None:
    tokenizer = octuple.build(OctupleHParams(max_bar_embedding=8, **options))
    for ids in walked(tokenizer.grammar(), 1, rows=12, most=60):
        decoded = tokenizer.decode(ids)
        assert len(heard(decoded)) == len(ids) > 0
        assert tokenizer.encode(decoded) == ids


def test_bars_and_length_are_kept() -> None:
    tokenizer = octuple.build(OctupleHParams(max_bar_embedding=8))
    for ids in walked(tokenizer.grammar(bars=3), 2, rows=8, most=400):
        assert tokenizer.decode(ids).score.tracks and ids[-1][0] - 3 == 2
    assert {len(ids) for ids in walked(tokenizer.grammar(length=5), 3, rows=8, most=9)} == {5}
    with pytest.raises(ValueError, match="at most 8"):
        tokenizer.grammar(bars=9)


class Deaf(WholeNoteGrammar):
    """Forgets what sounds."""

    def advance(self, state: Any, ids: Any) -> Any:
        return {**super().advance(state, ids), "busy": state["busy"]}


class Unordered(WholeNoteGrammar):
    """Lets pitches of one onset fall."""

    def advance(self, state: Any, ids: Any) -> Any:
        after = super().advance(state, ids)
        after["fields"][:, KEY] = -1
        return after


@pytest.mark.parametrize("grammar", [Deaf, Unordered])
def test_a_grammar_that_lets_notes_fall_on_one_another_is_caught(grammar: Any) -> None:
    tokenizer = octuple.build(OctupleHParams(max_bar_embedding=8, pitch_range=(60, 62)))
    found = walked(grammar(tokenizer, 0, 0), 1, rows=8, most=40)
    assert any(tokenizer.encode(tokenizer.decode(ids)) != ids for ids in found)


class Shifted(octuple.OctupleTokenizer):
    """Tells a note's place a step late."""

    def written(self, music: Any) -> Any:
        ids = super().written(music)
        ids[:, 1] = (ids[:, 1] + ids[:, 0] % 2) % self.vocab_sizes[1]
        return ids


def test_a_tokenizer_that_delays_is_caught() -> None:
    laws = {law.name: law for law in tokenizer_laws(Shifted, OctupleHParams())}
    assert not laws["a plain melody comes through"].judge().passed


def test_maps_move_one_stream_and_leave_the_others() -> None:
    tokenizer = cpword.build(CpWordHParams(**ALL))
    names, kinds = tokenizer.names, tokenizer.kinds
    assert kinds == ("Family", "Position", "Tempo", "Program", "Pitch", "Velocity", "Duration")
    for table, moved, image in (
        (tokenizer.transpose_table(2), "Pitch_60", "Pitch_62"),
        (tokenizer.velocity_table(1), "Velocity_63", "Velocity_67"),
        (tokenizer.tempo_table(0.5), "Tempo_120.0", "Tempo_60.0"),
    ):
        stream = kinds.index(moved.partition("_")[0])
        assert names[stream][table[stream][names[stream].index(moved)]] == image
        others = [at for at in range(len(kinds)) if at != stream]
        assert all(table[at] == list(range(len(names[at]))) for at in others), moved
    drum = names[4].index("PitchDrum_36")
    assert tokenizer.transpose_table(2)[4][drum] == drum
    plain = octuple.build(OctupleHParams())
    with pytest.raises(ValueError, match="no velocities; set "):
        plain.velocity_table(1)
    with pytest.raises(ValueError, match="no tempos; set "):
        plain.tempo_table(1.1)
    with pytest.raises(ValueError, match="factor is -1"):
        tokenizer.tempo_table(-1)


def test_what_each_id_of_a_word_tells() -> None:
    tokenizer = cpword.build(CpWordHParams(**ALL))
    told = {"Bar_None": "onset", "Position_3": "onset", "Tempo_120.0": "other", "Program_0": "other"}
    told |= {"Pitch_60": "pitch", "PitchDrum_36": "pitch", "Velocity_63": "other", "Duration_1.0.12": "duration"}
    told |= {"Family_Note": "onset", "Family_Metric": "onset", "EOS_None": "other", "Ignore_None": "other"}
    for name, kind in told.items():
        stream = next(at for at, known in enumerate(tokenizer.names) if name in known)
        assert tokenizer.kind_of(tokenizer.names[stream].index(name), stream) == kind, name


@pytest.mark.parametrize(("module", "hparams"), [(octuple, OctupleHParams), (cpword, CpWordHParams)])
def test_a_saved_one_is_known_again_and_another_refused(module: Any, hparams: Any, tmp_path: Path) -> None:
    tokenizer = module.build(hparams(**ALL))
    tokenizer.save(tmp_path)
    assert module.build(hparams(**ALL), tmp_path).fingerprint() == tokenizer.fingerprint()
    assert module.build(hparams()).fingerprint() != tokenizer.fingerprint()
    with pytest.raises(HubError, match="holds other vocabularies than miditok"):
        module.build(hparams(), tmp_path)
    with pytest.raises(HubError, match="does not exist"):
        module.build(hparams(), tmp_path / "none")
    other = cpword.build if module is octuple else octuple.build
    with pytest.raises(HubError, match="holds no saved"):
        other((CpWordHParams if module is octuple else OctupleHParams)(**ALL), tmp_path)
    next(tmp_path.iterdir()).write_text("{")
    with pytest.raises(HubError, match="cannot be read as a saved tokenizer"):
        module.build(hparams(**ALL), tmp_path)


@pytest.mark.parametrize(("module", "hparams"), [(octuple, OctupleHParams), (cpword, CpWordHParams)])
def test_tempos_hold_from_where_they_are_told(module: Any, hparams: Any) -> None:
    tokenizer = module.build(hparams(use_tempos=True))
    score = line(2, 5, 6).score
    for tick, tempo in ((0, 100.0), (18, 80.0), (24, 60.0)):  # four ticks a quarter
        score.tempos.append(symusic.Tempo(tick, tempo))
    found = tokenizer.decode(tokenizer.encode(piece_from_score(score, source="slower"))).score
    quarter = found.ticks_per_quarter
    # octuple tells a tempo with a note: 80 is told by the note at 5, 60 by that at 6; words tell it where it changes
    late = 5.0 if module is octuple else 4.5
    assert [(mark.time / quarter, round(mark.qpm)) for mark in found.tempos] == [(0, 100), (late, 80), (6, 60)]
    assert [note.time / quarter for note in found.tracks[0].notes] == [2, 5, 6]
    specials = [[id] * tokenizer.streams for id in range(3)]
    assert not tokenizer.decode([*specials, [3] * (tokenizer.streams - 1)]).score.tracks


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"use_time_signatures": True}, "do not tell it"),
        ({"bpe": 500}, "not joined"),
        ({"options": {"use_pitch_intervals": True}}, "none for tokens of several"),
        ({"max_bar_embedding": 0}, "1 to 4096 bars"),
    ],
)
def test_what_it_cannot_tell_is_refused(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        OctupleHParams(**wrong)


def test_an_end_is_scored_where_vocabularies_are_small() -> None:
    small = [np.array([0, 1, 2]), np.array([1, 1])]
    score = piece_score(0, np.array([[1.0, 0.5], [2.0, 0.0]]), np.array([[1, 1], [2, IGNORED]]), small)
    assert score.nats == 3.5 and score.kinds[:3] == [(0.0, 0), (1.5, 2), (2.0, 1)]
