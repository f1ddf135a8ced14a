"""What of a file is a prompt by the clock, and the tempo at which a piece goes on from it; all by hand."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import symusic

from core.errors import HubError
from core.log import logger
from core.model.generation import Generated
from hparams.base import GenerateHParams, HParams
from plugins.manager import load_manager
from supervisors.generating.pieces import write_pieces
from supervisors.generating.prompts import Prompt, prompt_of


def tokenizer(name: str, **settings: Any) -> Any:
    section = load_manager().section("tokenizer", name)
    return load_manager().make("tokenizer", type(section)(**settings))


def file(path: Path, *tempos: tuple[int, float]) -> str:
    """Four quarters, C D E F, at these tempos by quarter."""
    score, track = symusic.Score(480), symusic.Track()
    for quarter, speed in tempos:
        score.tempos.append(symusic.Tempo(480 * quarter, speed))
    for quarter, pitch in enumerate((60, 62, 64, 65)):
        track.notes.append(symusic.Note(480 * quarter, 480, pitch, 80))
    score.tracks.append(track)
    score.dump_midi(str(path))
    return str(path)


def heard(score: symusic.Score) -> list[tuple[float, int]]:
    """Onsets in seconds, and pitches."""
    notes = [note for track in score.to("second").tracks for note in track.notes]
    return sorted((round(note.time, 2), note.pitch) for note in notes)


@pytest.mark.parametrize(
    ("seconds", "ends"),
    [(0.5, [240]), (1.0, [480]), (2.0, [480, 960]), (2.25, [480, 960, 1200]), (9.0, [480, 960, 1440, 1920])],
)
def test_a_prompt_of_some_seconds(seconds: float, ends: list[int], tmp_path: Path) -> None:
    """Two quarters at 60, a second each, then two at 120, half a second each; what is held is cut at the border."""
    path = file(tmp_path / "four.mid", (0, 60), (2, 120))
    told: list[int] = []

    class Listener:
        def encode(self, piece: Any) -> list[int]:
            told.extend(note.time + note.duration for track in piece.score.tracks for note in track.notes)
            raise ValueError("heard enough")

    with pytest.raises(HubError, match="heard enough"):
        prompt_of(Listener(), GenerateHParams(prompt=path, prompt_seconds=seconds))  # type: ignore[arg-type]
    assert told == ends


def test_a_cut_without_a_note_names_what_has_one_by_each_measure(tmp_path: Path) -> None:
    """Eight quarters of rest at 40 a minute are twelve seconds."""
    path = tmp_path / "late.abc"
    path.write_text("X:1\nM:4/4\nL:1/4\nQ:1/4=40\nK:C\nz4|z4|CDEF|\n")
    all_of = {"prompt_beats": "9", "prompt_bars": "3", "prompt_seconds": "13"}
    for asked, first in ({"prompt_bars": 2}, "2 bars"), ({"prompt_seconds": 11.5}, "11.5 seconds"):
        with pytest.raises(HubError) as error:
            prompt_of(tokenizer("remi"), GenerateHParams(prompt=str(path), **asked))  # type: ignore[arg-type]
        key = next(iter(asked))
        others = " and ".join(f"{other}={enough}" for other, enough in all_of.items() if other != key)
        assert str(error.value) == (
            f"generate.prompt: {path} has no note in its first {first}; "
            f"generate.{key}={all_of[key]} has one, as have {others}"
        )
    with pytest.raises(HubError, match=r"generate.prompt_seconds is 4; expected generate.prompt=FILE beside it"):
        prompt_of(tokenizer("remi"), GenerateHParams(prompt_seconds=4))


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(logger, "propagate", True)
    caplog.set_level(logging.INFO)
    return caplog.messages


def written(made: Any, prompt: Prompt, more: list[int], folder: Path) -> tuple[symusic.Score, dict[str, Any]]:
    """The file of a piece that repeats `more` behind the prompt, and its record."""
    hparams = HParams(name="x", generate=GenerateHParams(formats=["png"]))
    write_pieces(made, hparams, [Generated([*prompt.ids, *more], len(prompt.ids), True)], [0], folder, 1.0, prompt)
    return symusic.Score(str(folder / "0.mid")), json.loads((folder / "0.json").read_text())


@pytest.mark.parametrize("name", ["remi", "tsd", "abc", "pertok", "octuple", "cpword"])
def test_a_piece_goes_on_at_the_prompt_s_tempo(name: str, tmp_path: Path, caplog: Any, said: list[str]) -> None:
    """Quarters at 90 a minute are 2/3 of a second each, before the end of the prompt and behind it."""
    made = tokenizer(name)
    prompt = prompt_of(made, GenerateHParams(prompt=file(tmp_path / "four.mid", (0, 90))))
    (tmp_path / "out").mkdir()
    again = prompt.ids[3:] if name == "abc" else prompt.ids  # its meter, unit and key stand once
    score, record = written(made, prompt, again, tmp_path / "out")
    assert [(tempo.time, round(tempo.qpm, 3)) for tempo in score.tempos] == [(0, 90)]
    onsets = [time for time, _ in heard(score)]
    assert onsets[:4] == [0.0, 0.67, 1.33, 2.0] and (name != "remi" or onsets[4:] == [2.67, 3.33, 4.0, 4.67])
    assert record["prompt_tempos"] == [[0.0, pytest.approx(90, abs=1e-3)]]
    expected = "generate.prompt: its tokens tell no tempo; the pieces keep the prompt's, 90 quarters a minute"
    assert caplog.messages[0] == expected and caplog.messages[-1] == "1 piece ended by itself"
    if name == "abc":
        assert "\nQ:1/4=90\n" in (tmp_path / "out" / "0.abc").read_text()


def test_two_tempos_are_kept_where_they_stand_and_the_last_one_holds(tmp_path: Path) -> None:
    for name in ("remi", "abc"):
        made = tokenizer(name)
        prompt = prompt_of(made, GenerateHParams(prompt=file(tmp_path / "four.mid", (0, 90), (2, 45))))
        (tmp_path / name).mkdir()
        score, _ = written(made, prompt, prompt.ids[3:] if name == "abc" else prompt.ids, tmp_path / name)
        tpq = score.ticks_per_quarter
        assert [(tempo.time / tpq, round(tempo.qpm, 3)) for tempo in score.tempos] == [(0, 90), (2, 45)]
        assert [time for time, _ in heard(score)][:5] == [0.0, 0.67, 1.33, 2.67, 4.0]
    text = (tmp_path / "abc" / "0.abc").read_text()
    assert text.index("Q:1/4=90") < text.index("C D") < text.index("Q:1/4=45") < text.index("E F")


@pytest.mark.parametrize(("name", "settings"), [("performance_240", {}), ("remi", {"use_tempos": True})])
def test_tokens_that_tell_time_are_left_alone(
    name: str, settings: dict[str, Any], tmp_path: Path, said: list[str]
) -> None:
    made = tokenizer(name, **settings)
    prompt = prompt_of(made, GenerateHParams(prompt=file(tmp_path / "four.mid", (0, 90))))
    (tmp_path / "out").mkdir()
    score, record = written(made, prompt, [], tmp_path / "out")
    assert prompt.tempos == record["prompt_tempos"] == [] and not any("tempo" in line for line in said)
    assert [time for time, _ in heard(score)] == pytest.approx([0.0, 0.67, 1.33, 2.0], abs=0.02)


def test_a_tempo_that_a_piece_tells_itself_wins(tmp_path: Path) -> None:
    """A prompt at 120 quarters a minute says nothing; and what tells another tempo later is left as it is."""
    plain = tokenizer("remi")
    assert prompt_of(plain, GenerateHParams(prompt=file(tmp_path / "plain.mid", (0, 120)))).tempos == []
    made = tokenizer("remi", use_tempos=True)
    prompt = prompt_of(made, GenerateHParams(prompt=file(tmp_path / "four.mid", (0, 60), (2, 180))))
    decoded = Prompt(prompt.ids, [(0.0, 90.0)]).decode(made, prompt.ids)
    assert [round(tempo.qpm) for tempo in decoded.score.tempos] == [60, 180]
