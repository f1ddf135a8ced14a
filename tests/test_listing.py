"""`list` says what each thing is, `list NAME` all about it, and a dry run what a run would be, without one."""

from pathlib import Path

import pytest

from plugins.manager import Manager, load_manager
from supervisors import listing
from supervisors.run import main
from tests.test_manager import plugin


def said(words, capsys):
    with pytest.raises(SystemExit) as done:
        main(words)
    assert done.value.code == 0
    return capsys.readouterr().out


def test_every_built_in_says_what_it_is(capsys):
    manager = load_manager()
    entries = [entry for registry in manager.registries for entry in registry.values()]
    silent = [(e.kind, e.name) for e in entries if e.distribution == "swaptunes" and not e.about]
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
    assert "1,200 steps of 8 rows of 512 tokens" in said(["list", "mamba_remi"], capsys)
    tiny = said(["list", "tiny"], capsys)
    assert tiny.startswith("preset tiny: A Mamba of 20 thousand") and "20 steps of 4 rows of 64 tokens" in tiny
    metric = said(["list", "pitch_range"], capsys)
    assert "unit: semitones, higher_is_better: None, headline: False" in metric
    assert "its laws" not in metric, "`check` has none for metrics"


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


def test_a_line_of_a_plugin_names_its_place_or_its_error():
    host = Manager()

    def metrics(register):
        register("m", told, unit="u", higher_is_better=True)

    host.add("good", lambda: plugin(metrics=metrics), "d", "1")
    host.add("sick", lambda: plugin(datasets=lambda register: 1 / 0), "dist", "2")
    host.freeze()
    metric, broken, composed = listing.everything(host).splitlines()
    place = f"{__file__}:{told.__code__.co_firstlineno}"
    assert metric == f"metric  m                       What it measures.  [d 1  {place}]"
    assert broken.startswith(f"broken  sick                    {host.broken['sick']}  [dist 2  {__file__}:")
    assert composed.split("  ", 1)[0] == "preset" and composed.endswith("composed of what both wish.")
    assert listing.one(host, "m").splitlines()[:2] == ["metric m: What it measures.", f"  from d 1, {place}"]


def told(generated, reference):
    """What it measures.

    And more.
    """
