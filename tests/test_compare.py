"""The verb `compare`: what it refuses, how it makes models equal, and the page it writes."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from core.errors import HubError
from datatools.batching.batches import Batches
from hparams.base import HParams
from hparams.loading import dump, override
from plugins.manager import load_manager
from supervisors.comparison import matching
from supervisors.comparison.verb import _how_many, train
from supervisors.language_model import LanguageModelSupervisor
from supervisors.run import main
from supervisors.training.token_supervisor import parameter_count


def test_how_many_runs_there_will_be_is_said_with_the_reason():
    assert _how_many(2, 3) == "6 runs: 2 models x 3 seeds (compare.seeds=1 for one, which ranks nothing)"
    assert _how_many(3, 1) == "3 runs: 3 models x 1 seed" and _how_many(1, 1) == "1 run: 1 model x 1 seed"


def _run(
    folder: Path, preset: str, seed: int, nats: "np.ndarray", *words: str, split: str = "test", data: str = "one"
) -> str:
    """A finished run as `train` leaves it, with given nats of its test pieces, or of another split's."""
    manager = load_manager()
    hparams = override(manager.preset(preset), [f"seed={seed}", *words], section=manager.section)
    place = folder / f"{preset}-{seed}"
    (place / "evaluation").mkdir(parents=True)
    (place / "hparams.yaml").write_text(dump(hparams))
    ngram = {"ngram": {"nats_per_note": 3.0, "order": 4}}
    result = {"steps": 10, "tokens_seen": 1000, "minutes": 1.5, "parameters": 5000, split: {"baselines": ngram}}
    result[split]["pieces"] = len(nats)
    (place / "model").mkdir()
    config = {"tokenizer_fingerprint": hparams.tokenizer.name, "data_fingerprint": data}
    (place / "model/config.json").write_text(json.dumps(config))
    (place / "evaluation.json").write_text(json.dumps(result))
    lines = [
        {"split": split, "source": f"{k}.mid", "index": 0, "nats": float(value), "notes": 50}
        for k, value in enumerate(nats)
    ]
    (place / "evaluation/pieces.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(place)


def _exit(words: list[str]) -> int:
    with pytest.raises(SystemExit) as stop:
        main(["compare", *words])
    return int(stop.value.code or 0)


def test_runs_that_stand_are_grouped_by_seed_and_ranked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SWAPTUNES_RUNS", str(tmp_path / "runs"))
    rng = np.random.default_rng(0)
    difficulty = rng.normal(100, 10, 30)
    good = [_run(tmp_path, "mamba_remi", seed, difficulty + rng.normal(0, 1, 30)) for seed in range(3)]
    bad = [_run(tmp_path, "lstm_remi", seed, difficulty + 25 + rng.normal(0, 1, 30)) for seed in range(3)]
    assert _exit([*bad, *good, "name=trial"]) == 0
    page = (tmp_path / "runs/trial/README.md").read_text()
    assert page in capsys.readouterr().out
    assert "- `mamba_remi-0` is better than `lstm_remi-0` by 0.4" in page
    [group] = json.loads((tmp_path / "runs/trial/compare.json").read_text())
    assert [model["name"] for model in group["models"]] == ["mamba_remi-0", "lstm_remi-0"]  # the best comes first
    assert group["models"][0]["by_seed"].keys() == {"0", "1", "2"}
    assert (group["pieces"], group["notes"]) == (30, 1500)
    assert (tmp_path / "runs/trial/compare.png").read_bytes().startswith(b"\x89PNG")


def test_a_name_stands_for_a_run_and_what_was_compared_before_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWAPTUNES_RUNS", str(tmp_path))
    for number, preset in enumerate(("mamba_remi", "lstm_remi", "gru_remi")):
        Path(_run(tmp_path, preset, 0, np.full(30, 100.0 + number))).rename(tmp_path / f"mine{number}")
    assert _exit(["mine0", "mine1"]) == 0
    page = (tmp_path / "compare/README.md").read_text()
    assert _exit(["mine0", str(tmp_path / "mine1"), "mine2"]) == 0, "more of the same: the page grows"
    assert not (tmp_path / "compare/earlier_1").exists()
    grown = (tmp_path / "compare/README.md").read_text()
    assert _exit(["mine1", "mine2"]) == 0
    assert (tmp_path / "compare/earlier_1/README.md").read_text() == grown != page
    assert _exit(["mine0", "mine1"]) == 0
    assert (tmp_path / "compare/earlier_2/compare.json").exists()
    assert (tmp_path / "compare/README.md").read_text() == page


def test_a_seed_given_twice_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = _run(tmp_path, "mamba_remi", 0, np.full(30, 100.0))
    copied = str(Path(one).rename(tmp_path / "copied"))
    one = _run(tmp_path, "mamba_remi", 0, np.full(30, 100.0))
    assert _exit([one, copied]) == 2
    assert "are one model in one seed (0)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("evaluation.json", '{"steps": 5}'),
        ("evaluation/pieces.jsonl", '{"split": "test"}\n'),
        ("evaluation/pieces.jsonl", '{"split": "test", "source": "0.mid", "index": 0, "nats": 1.0, "notes": 50}\n'),
        (
            "evaluation/pieces.jsonl",
            '{"split": "test", "source": "0", "index": 0, "nats": NaN, "notes": 5}\n' * 30,
        ),
    ],
)
def test_an_evaluation_with_holes_is_one_line(
    tmp_path: Path, name: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = _run(tmp_path, "mamba_remi", 0, np.full(30, 100.0))
    (tmp_path / "mamba_remi-0" / name).write_text(text)
    assert _exit([whole, _run(tmp_path, "lstm_remi", 0, np.full(30, 100.0))]) == 2
    error = capsys.readouterr().err
    assert "mamba_remi-0 has no readable evaluation" in error and error.count("\n") == 1


def test_folders_of_one_name_stay_two_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWAPTUNES_RUNS", str(tmp_path / "runs"))
    first = _run(tmp_path / "a", "mamba_remi", 0, np.full(30, 100.0))
    second = _run(tmp_path / "b", "mamba_remi", 0, np.full(30, 900.0), "train.lr=0.1")
    assert _exit([first, second]) == 0
    [group] = json.loads((tmp_path / "runs/compare/compare.json").read_text())
    assert [model["name"] for model in group["models"]] == ["mamba_remi-0", second]


def test_one_seed_and_other_pieces_are_not_ranked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWAPTUNES_RUNS", str(tmp_path / "runs"))
    first = _run(tmp_path, "mamba_remi", 0, np.full(30, 100.0))
    second = _run(tmp_path, "lstm_remi", 0, np.full(30, 900.0))
    third = _run(tmp_path, "transformer_remi", 0, np.full(20, 50.0))
    assert _exit([first, second, third]) == 0
    page = (tmp_path / "runs/compare/README.md").read_text()
    assert "one seed, which supports no ranking" in page
    assert "is better than" not in page and "both other music and other seeds" not in page
    assert page.count("| model |") == 2  # 30 pieces and 20 pieces are two tables


def test_what_was_measured_on_validation_stands_in_no_table_with_tests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWAPTUNES_RUNS", str(tmp_path / "runs"))
    first = _run(tmp_path, "mamba_remi", 0, np.full(30, 100.0))
    second = _run(tmp_path, "lstm_remi", 0, np.full(30, 900.0), split="valid")
    assert _exit([first, second]) == 0
    page = (tmp_path / "runs/compare/README.md").read_text()
    assert page.count("| model |") == 2 and page.count("no test split") == 1
    assert "30 test pieces" in page and "30 validation pieces" in page


def test_other_training_data_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWAPTUNES_RUNS", str(tmp_path / "runs"))
    same = [_run(tmp_path, preset, 0, np.full(30, 100.0)) for preset in ("mamba_remi", "lstm_remi")]
    other = _run(tmp_path, "transformer_remi", 0, np.full(30, 900.0), data="another")
    for folders, told in ((same, 0), ([*same, other], 1)):
        assert _exit(folders) == 0
        page = (tmp_path / "runs/compare/README.md").read_text()
        assert page.count("The training data differ") == told and page.count("| model |") == 1
    assert "(`mamba_remi-0`, `lstm_remi-0`; `transformer_remi-0`)" in page


@pytest.mark.parametrize(("parameters", "told"), [(5400, 0), (50_000, 1)])
def test_other_budgets_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parameters: int, told: int) -> None:
    monkeypatch.setenv("SWAPTUNES_RUNS", str(tmp_path / "runs"))
    runs = [_run(tmp_path, preset, 0, np.full(30, 100.0)) for preset in ("mamba_remi", "lstm_remi")]
    place = Path(runs[0]) / "evaluation.json"
    place.write_text(json.dumps(json.loads(place.read_text()) | {"parameters": parameters}))
    assert _exit(runs) == 0
    page = (tmp_path / "runs/compare/README.md").read_text()
    assert page.count("Parameters or tokens seen differ by more than a tenth") == told


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["mamba_remi"], "two runs or presets at least"),
        (["mamba_remi", "mamba_remi"], "two runs or presets at least"),
        (["runs/nope", "mamba_remi"], "runs/nope is not a run"),
        (["mamba_remi", "mambo_remi"], 'Did you mean "mamba_remi"?'),
        (["mamba_remi", "lstm_remi", "compare.seed=3"], 'Did you mean "compare.seeds"?'),
        (["mamba_remi", "lstm_remi", "compare.seeds=0"], "compare.seeds is 0; expected at least 1"),
        (["mamba_remi", "lstm_remi", "compare.tokens=5", "compare.minutes=1"], "compare.minutes is 1"),
        (["mamba_remi", "lstm_remi", "name=a/b"], "'a/b' is neither a run nor a plain name"),
    ],
)
def test_bad_words_are_one_line(words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert _exit(words) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1


class _Store(LanguageModelSupervisor):
    """A supervisor with a tokenizer and no data."""

    def load_data(self) -> None:
        from tests.toy_tokenizer import ToyTokenizer

        self.tokenizer = ToyTokenizer()


@pytest.mark.parametrize("backbone", ["mamba", "transformer", "lstm"])
def test_width_is_found_for_equal_parameters(backbone: str, tmp_path: Path) -> None:
    hparams: HParams = load_manager().preset(f"{backbone}_remi")
    supervisor = _Store(hparams, load_manager(), tmp_path)
    supervisor.load_data()
    target = 400_000
    model = matching.match_parameters(supervisor, target)
    assert model is not None
    count = parameter_count(model)
    built = supervisor.make_model(supervisor.hparams)
    assert built.parameter_count() == count
    assert abs(count / target - 1) <= matching.TOLERANCE


def test_a_target_out_of_reach_has_a_common_size_near_it(tmp_path: Path) -> None:
    """What is offered can be had by every model, and what lies nearer to the target cannot."""
    supervisors = []
    for name in ("transformer_remi", "lstm_remi"):
        supervisor = _Store(load_manager().preset(name), load_manager(), tmp_path)
        supervisor.hparams.backbone.layers = 2
        supervisor.load_data()
        supervisors.append(supervisor)
    assert matching.match_parameters(supervisors[0], 1000) is None
    size = matching.common_size(supervisors, 11_000)
    assert size is not None
    for supervisor in supervisors:
        assert matching.match_parameters(supervisor, size) is not None


class _Counted(Batches):
    """Steps of 7, 8, 7, 8, ... targets."""

    def __init__(self) -> None:
        pass

    def counted(self, step: int) -> int:
        return 7 + step % 2


def test_steps_reach_the_tokens_and_not_more() -> None:
    assert matching.steps_for(22, _Counted()) == 3
    assert matching.steps_for(23, _Counted()) == 4
    assert matching.tokens_of(3, _Counted()) == 22


def test_a_run_with_other_settings_is_not_taken_for_the_one_asked(tmp_path: Path) -> None:
    _run(tmp_path, "mamba_remi", 0, np.full(3, 1.0))
    (tmp_path / "mamba_remi-0/metrics.jsonl").write_text("")
    hparams = load_manager().preset("mamba_remi")
    hparams.name, hparams.train.lr = "mamba_remi-0", 1.0
    with pytest.raises(HubError, match=r"started with other values of name, train\.lr"):
        train(hparams, tmp_path)


@pytest.mark.parametrize("steps", [3, 20])
def test_a_run_of_another_budget_is_left_alone(tmp_path: Path, steps: int) -> None:
    place = Path(_run(tmp_path, "mamba_remi", 0, np.full(3, 1.0), "train.steps=10", "name=mamba_remi-0"))
    (place / "metrics.jsonl").write_text("")
    before = (place / "hparams.yaml").read_bytes()
    hparams = load_manager().preset("mamba_remi")
    hparams.name, hparams.train.steps = "mamba_remi-0", steps
    with pytest.raises(HubError, match=rf"planned for 10 steps, and {steps} are asked for now"):
        train(hparams, tmp_path)
    assert (place / "hparams.yaml").read_bytes() == before


def test_a_measured_rate_is_measured_once(tmp_path: Path) -> None:
    trials = []

    def trial(hparams: HParams, folder: Path) -> None:
        trials.append(hparams.train.lr)
        (folder / "trial").mkdir()
        lines = [json.dumps({"tokens_per_second": 50.0 * len(trials)})] * (matching.WARM + matching.TIMED)
        (folder / "trial/metrics.jsonl").write_text("\n".join(lines))

    hparams = load_manager().preset("mamba_remi")
    memory = tmp_path / "mamba_remi.rate.json"
    assert [matching.tokens_per_minute(trial, hparams, memory) for _ in range(2)] == [3000.0, 3000.0]
    hparams.train.lr = 1.0
    assert matching.tokens_per_minute(trial, hparams, memory) == 6000.0 and len(trials) == 2


def test_the_slow_first_steps_are_no_part_of_a_rate(tmp_path: Path) -> None:
    def trial(hparams: HParams, folder: Path) -> None:
        assert hparams.train.steps == len(rates)
        (folder / "trial").mkdir()
        told = [{"tokens_per_second": rate} for rate in rates]
        lines = [json.dumps(line) for line in [{"valid_loss": 9.0}, *told[:6], {"valid_loss": 8.0}, *told[6:]]]
        (folder / "trial/metrics.jsonl").write_text("\n".join(lines))

    rates = [1.0, 2.0, 3.0, 4.0, *(10.0 * step for step in (8, 3, 5, 1, 7, 6, 4, 2))]  # of the last eight, 45
    rate = matching.tokens_per_minute(trial, load_manager().preset("mamba_remi"), tmp_path / "a.json")
    assert rate == 60 * 45.0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_reaches_the_run_in_training_which_may_save(tmp_path: Path, number: signal.Signals) -> None:
    """Of the signals one process gets, the other must hear: a launcher ends the one it started.

    The signal comes at the worst time, when the child stands and the parent has yet to learn of it.
    """
    told = tmp_path / "told"
    child = (
        "import signal, sys, time\n"
        f"saved = lambda: open({str(told)!r}, 'w').close()\n"
        "signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.5), saved(), sys.exit(143)))\n"
        f"open({str(told)!r} + '.ready', 'w').close()\n"
        "time.sleep(60)"
    )
    parent = (
        "import os, subprocess, sys, time\nfrom supervisors.comparison import verb\n"
        "class Early(subprocess.Popen):\n"
        "    def __init__(self, *given, **named):\n"
        "        super().__init__(*given, **named)\n"
        f"        while not os.path.exists({str(told)!r} + '.ready'): time.sleep(0.01)\n"
        f"        os.kill(os.getpid(), {int(number)})\n"
        "subprocess.Popen = Early\n"
        "sys.exit(verb._ended([sys.executable, '-c', sys.argv[1]], {}))"
    )
    result = subprocess.run(
        [sys.executable, "-c", parent, child], cwd=Path(__file__).parents[1], capture_output=True, timeout=120
    )
    assert result.returncode == 143, result.stderr
    assert told.exists()
