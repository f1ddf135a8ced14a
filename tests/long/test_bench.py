"""The benchmark compares models of one size, reads what it should, bounds what takes too long, and tells it plainly."""

import json
import subprocess
import sys
from argparse import Namespace
from types import SimpleNamespace

import pytest
import torch

from core.errors import HubError
from hparams.bench import BenchHParams
from plugins.manager import load_manager
from supervisors.bench import training as bench_training
from supervisors.bench import verb
from supervisors.bench.cells import Cell, rounds
from supervisors.bench.decoding import Decoding
from supervisors.bench.page.rows import rows
from supervisors.bench.peers import PEERS, build, installed
from supervisors.bench.session import Session
from supervisors.bench.subjects import Ours, Spec
from supervisors.bench.training import Training
from supervisors.sizes import TOLERANCE, at, fit

VOCABULARY = 64


def spec_of(name, like=None, ours=True, dim=32):
    manager = load_manager()
    reference = at(manager.backbones["mamba"], VOCABULARY, dim=dim, layers=2)
    entry = manager.backbones[like or name]
    try:
        shape = reference if entry.name == "mamba" else fit(entry, reference.parameters, VOCABULARY, dim)
    except HubError:  # its table of positions, or its state, alone is larger than a reference this small
        shape = at(entry, VOCABULARY, dim=dim, layers=2)
    return Spec(name, ours, shape.hparams, VOCABULARY, 0, "cpu")


def words(**given):
    return Namespace(hparams="", run="", words=[f"{key}={value}" for key, value in given.items()])


@pytest.mark.parametrize("name, dim, layers", [("transformer", 256, 6), ("lstm", 256, 6), ("lstm", 32, 1)])
def test_every_backbone_takes_the_size_of_the_reference(name, dim, layers):
    manager = load_manager()
    target = at(manager.backbones["mamba"], 512, dim=dim, layers=layers).parameters
    shape = fit(manager.backbones[name], target, 512, dim)
    assert abs(shape.parameters / target - 1) <= TOLERANCE
    model = Ours(Spec(name, True, shape.hparams, 512, 0, "cpu")).model
    assert model.parameter_count() == shape.parameters


def test_a_size_that_no_shape_has_is_refused():
    with pytest.raises(HubError, match="no shape"):
        fit(load_manager().backbones["lstm"], 10, 512, 32)


@pytest.mark.parametrize("name", [name for name in PEERS if name != "mamba_ssm"])
def test_a_peer_has_our_size(name):
    if not installed(name, "cpu"):
        pytest.skip(f"{PEERS[name].requires} is not installed")
    spec = spec_of(name, PEERS[name].like, ours=False)
    ours = Ours(spec_of(PEERS[name].like)).model.parameter_count()
    found = sum(parameter.numel() for parameter in build(spec).model.parameters())
    assert found == ours


@pytest.mark.parametrize(
    "name", ["mamba", "transformer", "lstm", *(name for name, peer in PEERS.items() if peer.decodes)]
)
def test_what_is_timed_is_decoding(name):
    """Reading a prompt, then a token in copies of the cache, gives the logits of the whole text."""
    if name in PEERS and not installed(name, "cpu"):
        pytest.skip("transformers is not installed")
    subject = build(spec_of(name, PEERS[name].like, False)) if name in PEERS else Ours(spec_of(name))
    subject.model.eval()
    ids = torch.randint(0, VOCABULARY, (1, 12))
    with torch.inference_mode():
        whole = subject.model(ids)
        whole = (whole.logits if hasattr(whole, "logits") else whole[0])[:, -1]
        _, cache = subject.read(ids[:, :11], subject.cache(12))
        cache = subject.repeat(cache, 3)
        for _ in range(2):  # the second copy does not see what was written to the first
            logits, _ = subject.read(ids[:, 11:].expand(3, 1), subject.copy(cache))
            torch.testing.assert_close(logits, whole.expand(3, -1), rtol=1e-4, atol=1e-5)


def test_decoding_counts_the_tokens_of_all_rows(monkeypatch):
    decoding = Decoding(Ours(spec_of("lstm")), VOCABULARY, "cpu")
    decoding.prepare(batch=3, length=20)
    decoding.prepare(batch=3, length=30)
    monkeypatch.setattr(decoding, "_burst", lambda prompt: 0.5)
    steps = decoding._read[20].steps
    assert decoding.sample(20) == {"tokens_per_second": steps * 3 / 0.5, "seconds": 0.5}
    monkeypatch.undo()
    assert decoding.sample(30)["tokens_per_second"] > 0 and decoding.profile(20)


class Slow:
    """Its time grows with the square of the row."""

    def __init__(self):
        self.model = torch.nn.Linear(1, 1)
        self.lengths = []

    def loss(self, ids, targets):
        self.lengths.append(ids.shape[1])
        return self.model.weight.sum()

    def seconds(self):
        compiles = 20.0 if self.lengths == [16] else 0.0
        return compiles + self.lengths[-1] ** 2 * 1e-6


def test_a_step_that_would_take_too_long_is_bounded(monkeypatch):
    def seconds(work, device):
        work()
        return slow.seconds()

    slow = Slow()
    monkeypatch.setattr(bench_training, "timed", seconds)
    training = Training(slow, VOCABULARY, "cpu")
    told = training.prepare("fp32", 1, 4096, limit=0.5)  # 256 tokens take 0.07 s, 1024 would take 1 s
    assert told["length"] == 256 and "1024 tokens a row" in told["limited"]
    # The first once more, since it may compile, and the last, to tell how many steps make a sample.
    assert slow.lengths == [16, 16, 64, 256, 256]
    assert training.sample()["seconds"] == 256**2 * 1e-6


def test_a_step_is_measured_as_asked_where_time_allows():
    training = Training(Ours(spec_of("mamba")), VOCABULARY, "cpu")
    told = training.prepare("fp32", 2, 40, limit=30)
    assert (told["length"], told["limited"]) == (40, "")
    assert training.sample()["tokens_per_second"] > 0
    shares = [share for _, share in training.profile()]
    assert shares == sorted(shares, reverse=True) and 0.2 < sum(shares) < 1.001
    assert all(parameter.grad is not None for parameter in training.subject.model.parameters())


def test_peak_memory_sees_what_was_freed():
    script = """
import torch
from core.model.memory import keep_freed_memory
from supervisors.bench.memory import PeakMemory
keep_freed_memory()  # as a measured model does, in a process of its own
gauge = PeakMemory("cpu")
block = torch.ones(16 << 20)  # 64 MiB
del block
print(gauge.bytes())
"""
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True)
    assert 60 << 20 < int(told.stdout) < 200 << 20


def fake(name, log, seconds=1.0):
    def ask(question, **arguments):
        log.append((name, question))
        return {"tokens_per_second": 10.0, "seconds": seconds}

    return SimpleNamespace(spec=SimpleNamespace(name=name), ask=ask)


def test_rounds_go_over_all_and_stop_at_the_budget():
    log = []
    names = {"a": 1.0, "b": 5.0, "c": 1.0}
    pairs = [(fake(name, log, seconds), Cell("train", name, "fp32", 1, 16)) for name, seconds in names.items()]
    rounds(pairs, 3, 4.0, lambda what: None)
    assert [name for name, _ in log] == ["a", "b", "c", "c", "a", "c", "a"]
    assert [len(cell.samples) for _, cell in pairs] == [3, 1, 3]


def cells(**rates):
    return [
        Cell("train", name, "fp32", 4, 1024, measured=1024, samples=[rate * 0.9, rate, rate * 1.2], peak_bytes=1 << 20)
        for name, rate in rates.items()
    ]


def test_ratios_are_those_of_the_medians():
    measured = cells(mamba=9000.0, mambapy=600.0, transformer=4500.0)
    measured.append(Cell("matrix", "matrix", "fp32", 4, 1024, samples=[1e9, 4e9, 5e9], best_by="oneDNN 2048"))
    found = {row.figure: row for row in rows(measured, {"mamba": 100_000}, 1024, ["fp32"])}
    assert found["Mamba training, fp32"].ratio == 15
    assert found["Mamba training, fp32, length 1,024"].ratio == 2
    assert found["Mamba training, fp32, model FLOP/s over the matrix rate"].ratio == pytest.approx(6e5 * 9000 / 4e9)
    assert found["peak memory of the Mamba step, fp32"].ratio == 1
    assert not any("decoding" in figure for figure in found)


def test_every_pair_is_compared_in_the_best_precision():
    rates = {"mamba2": 9000.0, "transformers_mamba2": 3000.0, "gru": 500.0, "torch_gru": 1000.0}
    measured = cells(**rates)
    for cell in measured:
        cell.precision = "bf16"
    found = {row.figure: row.ratio for row in rows(measured, {}, 1024, ["fp32", "bf16"])}
    assert found == {"mamba2 training, bf16": 3, "gru training, bf16": 0.5}


def test_a_bounded_peer_is_a_bound_and_a_bounded_subject_no_figure():
    measured = cells(mamba=9000.0, mambapy=600.0)
    measured[1].measured = 256
    (row, *_) = rows(measured, {"mamba": 1}, 1024, ["fp32"])
    assert row.ratio == 15 and "256" in row.bound
    measured[0].measured = 256
    measured.append(Cell("matrix", "matrix", "fp32", 4, 1024, samples=[4e9], best_by="oneDNN 2048"))
    assert not [row for row in rows(measured, {"mamba": 1}, 1024, ["fp32"]) if row.unit in ("tokens/s", "FLOP/s")]


def test_the_cost_of_a_late_token_is_against_an_early_one():
    measured = [
        Cell("decode", "mamba", "fp32", 1, length, measured=length, samples=[rate])
        for length, rate in ((256, 1000.0), (8192, 800.0))
    ]
    (row,) = rows(measured, {"mamba": 1}, 1024, ["fp32"])
    assert row.ratio == pytest.approx(1.25) and row.ours == pytest.approx(1 / 800)


@pytest.mark.parametrize(
    "given, message",
    [
        ({"lenght": 3}, 'no key "lenght". Did you mean "length"'),
        ({"peers": "mambapi"}, 'no peer "mambapi". Did you mean "mambapy"'),
        ({"backbones": "mambo"}, 'no backbone "mambo". Did you mean "mamba"'),
        ({"device": "gpu"}, "expected cpu or cuda"),
        ({"lengths": "256,x"}, "joined by commas"),
        ({"repeats": 0}, "at least 1"),
        ({"bench.quick": True}, "stand by themselves, e.g. quick=true"),
    ],
)
def test_wrong_words_are_one_line(given, message):
    with pytest.raises(HubError) as error:
        verb.bench(words(**given))
    assert message in str(error.value) and "\n" not in str(error.value)


def test_quick_leaves_what_was_asked_for():
    settings = BenchHParams(quick=True, length=512)
    assert (settings.length, settings.repeats, settings.all_lengths) == (512, 2, [256, 512, 1024])


def test_what_was_measured_stays_after_an_interruption(tmp_path, monkeypatch, capsys):
    def measure(session):
        session.cells += cells(mamba=9000.0, transformer=4500.0)
        session.cells[0].operators = [("swaptunes_native::scan_forward", 0.5)]
        raise KeyboardInterrupt

    monkeypatch.setattr(Session, "measure", measure)
    assert verb.bench(words(dim=32, layers=1, backbones="mamba,transformer", peers="none", out=tmp_path)) == 130
    assert "9,000" in capsys.readouterr().out
    told = json.loads((tmp_path / "bench.json").read_text())
    assert told["cells"][0]["samples"] == [8100.0, 9000.0, 10800.0] and "Interrupted" in told["notes"][-1]
    page = (tmp_path / "bench.md").read_text()
    assert "9,000 (8,100–10,800)" in page and "**2.00**" in page and "fused C++" in page
    assert (tmp_path / "bench.png").read_bytes()[:4] == b"\x89PNG"


def test_nothing_measured_is_a_failure(tmp_path, monkeypatch):
    monkeypatch.setattr(Session, "measure", lambda session: None)
    assert verb.bench(words(dim=32, layers=1, backbones="lstm", peers="none", out=tmp_path)) == 1
    assert not list(tmp_path.iterdir())
