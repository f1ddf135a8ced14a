"""`list` says what each thing is, `list NAME` all about it, and a dry run what a run would be, without one."""

from pathlib import Path

import pytest

from plugins.manager import load_manager
from supervisors import listing
from supervisors.run import main


def said(words, capsys):
    with pytest.raises(SystemExit) as done:
        main(words)
    assert done.value.code == 0
    return capsys.readouterr().out


def test_every_built_in_says_what_it_is(capsys):
    manager = load_manager()
    entries = [entry for registry in manager.registries for entry in registry.values()]
    silent = [(e.kind, e.name) for e in entries if e.distribution == "swaptunes" and not listing.sentence(e)]
    assert silent == []
    text = said(["list"], capsys)
    assert len(text.splitlines()) >= len(entries) + 1 and "Mamba-1 (Gu & Dao" in text


def test_all_about_one_has_its_settings_its_size_and_its_laws(capsys):
    text = said(["list", "lstm"], capsys)
    assert "backbone.layers=3" in text and "Number of layers." in text and "check lstm" in text
    # Embedding and tied head of 512 x 356, and three layers of four gates with two biases each.
    assert f"{512 * 356 + 3 * (4 * 356 * 2 * 356 + 8 * 356):,} parameters" in text
    assert "train.lr=0.004" in text
    assert "backbone=mamba tokenizer=remi" in said(["list", "mamba_remi"], capsys)


def test_an_unknown_name_is_one_line(capsys):
    with pytest.raises(SystemExit) as done:
        main(["list", "mambo"])
    told = capsys.readouterr().err
    assert done.value.code == 2 and '"mamba"' in told and told.count("\n") == 1


def test_a_dry_run_tells_and_leaves_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SWAPTUNES_RUNS", str(tmp_path / "runs"))
    music = Path(__file__).parent / "golden" / "music"
    words = ["tiny", "dataset=folder", f"dataset.path={music}", "train.engine=torch", "data.length=16", "dry=true"]
    text = said(words, capsys)
    assert (
        "parameters   " in text and "backbone " in text and "steps        20" in text and "minutes      about" in text
    )
    assert "name: tiny" in text and not (tmp_path / "runs").exists()
