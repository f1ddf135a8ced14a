"""The laws of supervisors: the hub's own keeps them, and a planted fault is caught by the law that names it."""

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from core.errors import HubError
from hparams.supervisors import LanguageModelHParams
from plugins.laws.supervisors.all import supervisor_laws
from plugins.laws.supervisors.subject import SupervisorSubject
from supervisors.language_model import LanguageModelSupervisor


class Deaf(nn.Module):
    """A loss from which no gradient comes."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.model = inner, inner.get_submodule("model")

    def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        nats: torch.Tensor = self.inner(batch)
        return nats.detach() + 0 * nats


class LearnsNothing(LanguageModelSupervisor):
    def objective(self, model: Any) -> Any:
        return Deaf(super().objective(model))


class DrawsOnItsOwn(LanguageModelSupervisor):
    """Dropout from a stream that goes on, so that what a process did before decides."""

    def train_step(self, step: int) -> dict[str, float]:
        return super().train_step(step + next(CALLS))


CALLS = itertools.count()


class ReadsItsFolder(LanguageModelSupervisor):
    """A seed that the run's folder gives and its artefact does not."""

    def generate(self, out: Path | None = None) -> list[Path]:
        self.hparams.generate.seed = sum(map(ord, self.folder.path.name))
        return super().generate(out)


class MeansOfMeans(LanguageModelSupervisor):
    """What several processes would tell that divide by what each of them sees."""

    def train_step(self, step: int) -> dict[str, float]:
        values = super().train_step(step)
        return values | {"loss": values["loss"] * (1.001 if "ranks" in self.folder.path.name else 1)}


class TellsTheLossAlone(LanguageModelSupervisor):
    def train_step(self, step: int) -> dict[str, float]:
        return {"loss": super().train_step(step)["loss"]}


class MeasuresOtherwiseEachTime(LanguageModelSupervisor):
    def validate(self) -> dict[str, float]:
        values = super().validate()
        return values | {"valid_loss": values["valid_loss"] + 1e-3 * next(CALLS)}


class WritesWhereItLikes(LanguageModelSupervisor):
    def generate(self, out: Path | None = None) -> list[Path]:
        return super().generate(self.folder.path / "mine")


@pytest.fixture(autouse=True)
def one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The faults show without a launcher; a foreign supervisor is trained by real ranks in test_third_party."""
    monkeypatch.setattr(
        SupervisorSubject, "trained_by_ranks", lambda self, name, ranks: self.run(name, dropout=0.0).train()
    )


def test_the_language_model_keeps_them() -> None:
    for law in supervisor_laws(LanguageModelSupervisor, LanguageModelHParams()):
        law()


@pytest.mark.parametrize(
    ("fault", "name"),
    [
        (LearnsNothing, "the loss of one batch falls"),
        (TellsTheLossAlone, "the loss of one batch falls"),
        (MeasuresOtherwiseEachTime, "the loss of one batch falls"),
        (WritesWhereItLikes, "the artefact alone generates the same"),
        (DrawsOnItsOwn, "resume equals"),
        (ReadsItsFolder, "the artefact alone generates the same"),
        (MeansOfMeans, "two ranks tell the losses of one"),
    ],
)
def test_a_fault_is_caught_by_its_law(fault: type[Any], name: str) -> None:
    (law,) = [law for law in supervisor_laws(fault, LanguageModelHParams()) if law.name == name]
    verdict = law.judge()
    assert verdict.passed is False and "raised" not in verdict.detail, verdict


def test_a_supervisor_is_a_slot_that_old_files_leave_out() -> None:
    from hparams.loading import changed, dump, from_tree, plain
    from plugins.manager import load_manager

    manager = load_manager()
    now = manager.preset("tiny")
    assert "supervisor:\n  name: language_model" in dump(now)
    tree = plain(now)
    for old in ({**tree, "supervisor": "language_model"}, {key: tree[key] for key in tree if key != "supervisor"}):
        assert changed(from_tree(old, "old.yaml", manager.section), now) == []
    with pytest.raises(HubError, match=r'no supervisor "langauge_model"\. Did you mean "language_model"\?'):
        from_tree({**tree, "supervisor": "langauge_model"}, "old.yaml", manager.section)
