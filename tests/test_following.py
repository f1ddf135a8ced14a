"""Settings left at `auto` follow a person's own music, say why, and are plain values in all that is kept."""

import argparse
import logging
from pathlib import Path
from types import SimpleNamespace

import pytest
import symusic

from core.errors import HubError
from core.log import say_once
from datatools.preparing.losses import contents
from hparams.following import left_open, settle, settle_controls
from hparams.loading import from_file, load
from hparams.tokenizers.note_tokens import RemiHParams, StructuredHParams, TsdHParams
from plugins.manager import load_manager
from supervisors.asking import asked
from supervisors.training.data import following
from supervisors.training.data.following import follow

KEYS = ("use_programs", "use_velocities", "use_tempos")


def made(
    pitches: list[int], *, program: int = 0, drum: bool = False, velocities: int = 1, qpm: int = 120
) -> symusic.Score:
    score = symusic.Score(480)
    track = symusic.Track("", program, drum)
    for number, pitch in enumerate(pitches):
        track.notes.append(symusic.Note(240 * number, 240, pitch, 64 + number % velocities))
    score.tracks.append(track)
    score.tempos.append(symusic.Tempo(0, qpm))
    return score


def test_what_a_piece_has_to_tell() -> None:
    line = [60, 62, 64]
    assert contents(made(line)) == (False, False, False)
    assert contents(made(line, program=40)) == (True, False, False)
    assert contents(made([36, 38], drum=True)) == (True, False, False)
    assert contents(made(line, velocities=2)) == (False, True, False)
    assert contents(made(line, qpm=90)) == (False, False, True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty pieces: five with loudness, one in another tempo, which is too few; none with drums."""
    path = tmp_path_factory.mktemp("own")
    for number in range(40):
        line = [48 + (number * 7 + step * (3 + number % 5)) % 36 for step in range(32)]
        score = made(line, velocities=2 if number < 5 else 1, qpm=90 if number == 20 else 120)
        score.dump_midi(path / f"{number}.mid")
    return path


def hparams_of(*words: str):
    manager = load_manager()
    return load("tiny", list(words), preset=manager.preset, section=manager.section)


def loaded(tmp_path: Path, *words: str):
    supervisor = load_manager().supervise(hparams_of(*words), tmp_path / "run")
    supervisor.load_data()
    return supervisor


def test_one_piece_is_enough_of_a_few(tmp_path: Path) -> None:
    """A twentieth of three pieces is less than one; one that has it is a third."""
    own = tmp_path / "few"
    own.mkdir()
    for number in range(3):
        line = [50 + (number * 7 + step * (3 + number)) % 36 for step in range(32)]
        made(line, velocities=1 + (number == 1)).dump_midi(own / f"{number}.mid")
    manager = load_manager()
    hparams = hparams_of("dataset=folder", f"dataset.path={own}")
    follow(hparams, manager.make("dataset", hparams.dataset), manager, progress=False)
    assert [getattr(hparams.tokenizer, key) for key in KEYS] == [False, True, False]


def test_it_follows_a_folder_and_says_why(folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    say_once.cache_clear()
    with caplog.at_level(logging.INFO, logger="swaptunes"):
        supervisor = loaded(tmp_path, "dataset=folder", f"dataset.path={folder}")
        loaded(tmp_path / "again", "dataset=folder", f"dataset.path={folder}")
    section = supervisor.hparams.tokenizer
    assert [getattr(section, key) for key in KEYS] == [False, True, False]
    assert caplog.text.count("tokenizer.use_velocities") == 1, "once, however many models are compared"
    assert "tokenizer.use_velocities: true (5 of 40 pieces have several loudnesses)" in caplog.text
    assert "tokenizer.use_tempos: false (1 of 40 pieces has tempos of their own)" in caplog.text
    assert any(supervisor.tokenizer.token(i).startswith("Velocity") for i in range(supervisor.tokenizer.vocab_size))
    supervisor.keep_settings()
    kept = from_file(tmp_path / "run" / "hparams.yaml", load_manager().section)
    assert [getattr(kept.tokenizer, key) for key in KEYS] == [False, True, False]


def test_a_twentieth_of_what_can_be_read_is_enough_and_a_start_goes_before_the_music(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 40 pieces two have drums and one has loudness; of ten more, all with tempos, nothing is known."""
    rows = [SimpleNamespace(failure="", programs=k < 2, velocities=k < 1, tempos=False) for k in range(40)]
    rows += [SimpleNamespace(failure="no music", programs=True, velocities=True, tempos=True) for _ in range(10)]
    monkeypatch.setattr(following.cache, "surveyed", lambda *given: rows)

    def found(unknown: bool = True, start: str = "") -> list[object]:
        hparams = hparams_of()
        hparams.model.start = start
        follow(hparams, SimpleNamespace(unknown=unknown), load_manager(), progress=False)  # type: ignore[arg-type]
        return [getattr(hparams.tokenizer, key) for key in KEYS]

    assert found() == [True, False, False] and found(unknown=False) == [False] * 3
    settings = SimpleNamespace(tokenizer=RemiHParams(use_programs=False, use_velocities=True, use_tempos=True))
    monkeypatch.setattr(following.described, "settings", lambda folder, manager: settings)
    assert found(start=str(tmp_path)) == [False, True, True]
    monkeypatch.setattr(following, "is_foreign", lambda folder: True)
    assert found(start=str(tmp_path)) == [False] * 3, "another library's model knows nothing of these"


def test_a_persons_word_wins(folder: Path, tmp_path: Path) -> None:
    words = ["tokenizer.use_velocities=false", "tokenizer.use_tempos=true"]
    section = loaded(tmp_path, "dataset=folder", f"dataset.path={folder}", *words).hparams.tokenizer
    assert [getattr(section, key) for key in KEYS] == [False, False, True]


def test_a_run_that_stands_keeps_what_was_found(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWAPTUNES_RUNS", str(tmp_path))
    words = ["dataset=folder", f"dataset.path={folder}", "name=run"]
    supervisor = loaded(tmp_path, *words)
    supervisor.keep_settings()
    (tmp_path / "run" / "metrics.jsonl").touch()
    options = argparse.Namespace(verb="train", run="", hparams="tiny", words=words)
    assert asked(options)[0].tokenizer == supervisor.hparams.tokenizer
    options.words = [*words, "tokenizer.use_velocities=false"]
    with pytest.raises(HubError, match=r"other values of tokenizer\.use_velocities"):
        asked(options)


def test_data_that_are_known_are_read_as_ever() -> None:
    from supervisors.training.data.following import follow

    hparams = hparams_of()
    manager = load_manager()
    follow(hparams, manager.make("dataset", hparams.dataset), manager, progress=False)
    assert [getattr(hparams.tokenizer, key) for key in KEYS] == [False] * 3


def test_another_value_is_one_line() -> None:
    with pytest.raises(HubError, match=r"^tokenizer\.use_programs is 'maybe'; expected true, false or auto$"):
        hparams_of("tokenizer.use_programs=maybe")
    assert hparams_of("tokenizer.use_programs=auto").tokenizer == RemiHParams()
    assert StructuredHParams().use_tempos is False


def test_controls_are_as_they_were_found_but_for_what_is_asked() -> None:
    found = hparams_of("model.controls=[label,key]", "controls.label.column=pace")
    settled = hparams_of("model.controls=[label,text]")
    settled.controls = {"label": {"column": "genre", "words": ["jig"]}, "text": {"most": 3}}
    settle_controls(found, settled)
    assert found.controls == {"label": {"column": "pace", "words": ["jig"]}}, "a person's word stays; text is not here"


def test_what_is_left_open_is_taken_from_a_run_of_the_same_tokenizer_alone() -> None:
    found = RemiHParams(use_programs=True)
    settle(found, TsdHParams(use_velocities=True, use_programs=False, use_tempos=True))
    assert set(left_open(found)) == {"use_velocities", "use_tempos"}, "another tokenizer says nothing of this one"
    settle(found, RemiHParams(use_velocities=False, use_programs=False, use_tempos=True))
    assert (found.use_velocities, found.use_programs, found.use_tempos) == (False, True, True) and not left_open(found)
