"""What tokens do not tell is counted by cause, and the setting that keeps it is named."""

import symusic

from core.contracts.piece import Piece
from datatools.preparing.losses import advice, losses
from hparams.tokenizers.note_tokens import RemiHParams
from hparams.tokenizers.pertok import PerTokHParams
from plugins.manager import load_manager


def made() -> symusic.Score:
    """Six notes: a piano with a unison and a high note, a bass, two of drums; two tempos and loudnesses."""
    score = symusic.Score(480)
    rows = [(0, False, [(0, 480, 60, 80), (0, 480, 60, 80), (480, 480, 127, 40)])]
    rows += [(32, False, [(0, 480 * 40, 36, 80)]), (0, True, [(0, 240, 36, 80), (480, 240, 38, 80)])]
    for program, drum, notes in rows:
        track = symusic.Track("", program, drum)
        for note in notes:
            track.notes.append(symusic.Note(*note))
        score.tracks.append(track)
    score.tempos.append(symusic.Tempo(0, 90))
    score.tempos.append(symusic.Tempo(480, 120))
    return score


def test_each_loss_is_counted_once_with_its_cause() -> None:
    told = symusic.Score(8)  # what a tokenizer for the piano keeps: one track, no loudness, up to 12 quarters
    track = symusic.Track()
    for note in [(0, 8, 60, 100), (0, 96, 36, 100)]:
        track.notes.append(symusic.Note(*note))
    told.tracks.append(track)
    assert losses(made(), told) == {
        "drums": 2, "programs": 1, "velocities": 4, "pitches": 1, "unisons": 1, "durations": 1, "tempos": 2
    }  # fmt: skip
    assert losses(made(), made()) == {}


def line(*notes: tuple[float, int]) -> symusic.Score:
    """Notes at quarters, of a sixteenth each."""
    score = symusic.Score(480)
    score.tracks.append(symusic.Track())
    for onset, pitch in notes:
        score.tracks[0].notes.append(symusic.Note(int(480 * onset), 120, pitch, 80))
    return score


def test_unisons_notes_struck_too_soon_and_others_are_told_apart() -> None:
    """One of two notes at once, one of two a 24th apart, and two of which no token tells."""
    read = line((0, 60), (0, 60), (1, 64), (1 + 1 / 24, 64), (2, 64), (2.5, 64), (3, 60), (4, 60))
    told = line((0, 60), (1, 64), (2, 64), (2.5, 64))
    assert losses(read, told) == {"unisons": 1, "repeats": 1, "others": 2}


def test_notes_that_pertok_leaves_out_are_counted_and_said() -> None:
    """Its shortest duration is a twelfth of a quarter: of notes at 0, 20, 44 and 60 of 480 ticks two stay."""
    from core.contracts.piece import Piece
    from datatools.preparing.encoding import encode_piece

    score = line(*((tick / 480, 60) for tick in (0, 20, 44, 60)), (0.1, 67), (2, 60))
    tokenizer = load_manager().make("tokenizer", PerTokHParams())
    told = encode_piece(tokenizer, Piece("trill.mid", "", "", lambda: score, str))
    assert told.lost["repeats"] == 2 and told.told == 4
    assert "2 notes that follow one of their key sooner than the shortest duration are left out" in told.remarks


def test_the_advice_keeps_what_it_says() -> None:
    from datatools.reading.scores import piece_from_score

    piece = piece_from_score(made())
    plain = load_manager().make("tokenizer", RemiHParams())
    lost = losses(piece.score, plain.decode(plain.encode(piece)).score)
    assert set(lost) >= {"drums", "programs", "velocities", "pitches", "tempos"}
    full = RemiHParams(use_programs=True, use_velocities=True, use_tempos=True, pitch_range=(0, 127))
    tokenizer = load_manager().make("tokenizer", full)
    kept = losses(piece.score, tokenizer.decode(tokenizer.encode(piece)).score)
    assert not set(kept) & {"drums", "programs", "velocities", "pitches", "tempos"}


def test_the_table_names_share_and_setting() -> None:
    manifest = {
        "counts": {"train": {"notes": 200}},
        "lost": {"unisons": 1, "drums": 60, "velocities": 200},
        "remarks": 3,
    }
    assert advice(manifest, RemiHParams()) == [
        "lost         100 % of notes: the loudness -> tokenizer.use_velocities=true",
        "             30 % of notes: drums -> tokenizer.use_programs=true",
        "             0.5 % of notes: unisons merged (notes of one pitch at one onset are one token)",
        "remarks      on 3 pieces: remarks.txt in the token store",
    ]


def test_a_setting_that_is_set_is_no_advice() -> None:
    manifest = {"counts": {"train": {"notes": 200}}, "lost": {"tempos": 7, "drums": 1, "velocities": 4}, "remarks": 0}
    assert advice(manifest, RemiHParams(use_programs=True, use_tempos=True)) == [
        "lost         7 marks: tempos -> tokenizer.tempo_range=[20,400] tokenizer.num_tempos=200",
        "             2 % of notes: the loudness -> tokenizer.use_velocities=true",
        "             0.5 % of notes: drums (more than this tokenizer can tell)",
    ]
    wide = RemiHParams(use_tempos=True, tempo_range=(10, 500), num_tempos=200)
    assert advice(manifest, wide)[0] == "lost         7 marks: tempos (more than this tokenizer can tell)"


def test_no_setting_is_advised_that_is_refused() -> None:
    manifest = {"counts": {"train": {"notes": 200}}, "lost": {"tempos": 7}, "remarks": 0}
    assert advice(manifest, PerTokHParams()) == ["lost         7 marks: tempos (this tokenizer cannot tell them)"]


def test_tempos_beyond_the_range_are_clipped_and_those_beside_a_step_rounded() -> None:
    """Tempos from 40 to 250 in steps of 5: 300 is told as 250, 252 and 41 are rounding, 30 is told as 40."""
    tokenizer = load_manager().make("tokenizer", RemiHParams(use_tempos=True))
    wide = load_manager().make("tokenizer", RemiHParams(use_tempos=True, tempo_range=(20, 300)))
    for speed, count in ((300.0, 1), (252.0, 0), (41.0, 0), (30.0, 1)):
        score = made()
        score.tempos = symusic.core.TempoTickList([symusic.Tempo(0, speed)])
        piece = Piece("fast.mid", "", "", lambda score=score: score, str)  # type: ignore[misc]
        assert losses(score, tokenizer.decode(tokenizer.encode(piece)).score).get("clipped", 0) == count
        assert "clipped" not in losses(score, wide.decode(wide.encode(piece)).score)
    manifest = {"counts": {"train": {"notes": 1}}, "lost": {"clipped": 1}, "remarks": 0}
    assert advice(manifest, RemiHParams(use_tempos=True)) == [
        "lost         1 mark: tempos beyond the slowest or fastest -> "
        "a wider range, e.g. tokenizer.tempo_range=[20,400] tokenizer.num_tempos=200"
    ]
