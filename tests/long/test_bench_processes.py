"""The benchmark's models run in processes of their own, and one that dies is told."""

import pytest

from hparams.bench import BenchHParams
from plugins.manager import load_manager
from supervisors.bench.models import choose
from supervisors.bench.session import Session
from supervisors.bench.subjects import Spec
from supervisors.bench.worker import Lost, Worker


def test_models_are_measured_in_processes_of_their_own():
    settings = BenchHParams(
        dim=32, layers=1, length=16, batch=1, lengths="16,64", repeats=1, threads=1, peers="none", backbones="lstm"
    )
    models, _ = choose(settings, load_manager())
    session = Session(settings, models, ["fp32"])
    session.measure()
    measured = {(cell.kind, cell.subject, cell.batch, cell.length) for cell in session.cells if cell.whole}
    assert {("train", "lstm", 1, 16), ("train", "lstm", 1, 64), ("decode", "lstm", 16, 64)} <= measured
    matrix, train = session.cells[:2]
    assert matrix.kind == "matrix" and matrix.samples[0] > 1e8 and matrix.best_by
    assert train.peak_bytes is not None and "mkldnn_rnn_layer" in str(train.operators)
    assert session.parameters["lstm"] == models[0].parameters and session.threads == 1


def test_a_model_that_fails_or_dies_is_told_in_a_line():
    worker = Worker(Spec("nobody", True, None, 8, 1, "cpu"))
    with pytest.raises(Lost, match='no backbone "nobody"'):
        worker.ask("about")
    worker._process.kill()
    with pytest.raises(Lost, match="died"):
        worker.ask("about")
    worker.close()
