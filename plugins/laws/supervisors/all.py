"""All laws over one supervisor: it learns, and no interruption, machine or launcher changes what."""

import importlib.util
import math
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from plugins.laws.law import Finding, Law, Skipped, one_thread, verdict
from plugins.laws.supervisors.subject import SAVED, STEPS, SupervisorSubject, quiet

TOLD = ("loss", "lr", "grad_norm", "tokens")
REPEATS, FALL = 30, 0.02  # steps on one batch, and the share by which its loss must fall at least
RANKS, ROUNDING = 2, 1e-5  # how far sums in another order may differ, relative to the loss


def supervisor_laws(build: Callable[..., Any], hparams: Any) -> list[Law]:
    """The laws, not yet judged; `hparams` is the supervisor's own section. Runs of a few steps, on the CPU or the GPU
    that a run would take."""
    subject = SupervisorSubject(build, hparams)
    measures = {
        "the loss of one batch falls": one_batch,
        "resume equals": resume_equals,
        "the artefact alone generates the same": artefact_alone,
        "two ranks tell the losses of one": two_ranks,
    }
    return [
        Law(name, partial(_measured, measure, subject), lambda: ("",), lambda case: (), ROUNDING)
        for name, measure in measures.items()
    ]


def _measured(measure: Callable[[SupervisorSubject], Iterator[Finding]], subject: Any, case: str) -> Iterator[Finding]:
    with one_thread():
        yield from measure(subject)


def one_batch(subject: SupervisorSubject) -> Iterator[Finding]:
    """Step after step on the same data: whatever is learned, this must be."""
    with quiet():
        supervisor = subject.run("one_batch")
        supervisor.load_data()
        supervisor.build_model()
        told = [supervisor.train_step(STEPS // 2) for _ in range(REPEATS)]
        measured = [supervisor.validate() for _ in range(2)]
    missing = [name for name in TOLD if name not in told[0]]
    yield verdict(f"train_step tells no {' and no '.join(missing)}", not missing)
    yield verdict("validate tells no valid_loss", math.isfinite(measured[0].get("valid_loss", math.nan)))
    one, other = (each["valid_loss"] for each in measured)
    yield verdict(f"validate tells {one!r}, and {other!r} when asked again", one == other)
    losses = [values["loss"] for values in told]
    said = f"after {REPEATS} steps on one batch the loss is {losses[-1]:.4g}, at first it was {losses[0]:.4g}"
    yield verdict(said, losses[-1] < losses[0] - FALL * abs(losses[0]))


def resume_equals(subject: SupervisorSubject) -> Iterator[Finding]:
    """A run that is killed and goes on ends with the same losses and the same bytes."""
    whole = subject.folder("whole")
    assert subject.whole.step == STEPS
    subject.killed("resumed", SAVED + 1)
    with quiet():
        subject.run("resumed").train()
    found, expected = subject.losses("resumed"), subject.losses("whole")
    for step, (mine, own) in enumerate(zip(found, expected, strict=True), 1):
        yield verdict(f"the loss of step {step} is {mine!r} in a run that went on, {own!r} in a whole one", mine == own)
    last = f"checkpoints/step_{STEPS:06d}"
    files = sorted(path for path in (whole / last).rglob("*.safetensors"))
    yield verdict(f"{last} holds no *.safetensors", bool(files))
    for path in files:
        name = path.relative_to(whole)
        other = subject.folder("resumed") / name
        yield verdict(f"{name} has other bytes in a run that went on", path.read_bytes() == other.read_bytes())


def artefact_alone(subject: SupervisorSubject) -> Iterator[Finding]:
    """What people share needs no run and no data around it."""
    supervisor = subject.whole
    alone = subject.folder("alone")
    shutil.rmtree(alone, ignore_errors=True)
    shutil.copytree(subject.folder("whole") / "model", alone)
    with quiet():
        expected = supervisor.generate(subject.folder("by_run"))
        other = subject.run("alone")
        other.open()
        found = other.generate(subject.folder("by_artefact"))
    yield verdict("generate gave no file", bool(expected))
    names, others = [Path(path).name for path in expected], [Path(path).name for path in found]
    yield verdict(f"the run generates {names}, its artefact {others}", names == others)
    for folder, files in (("by_run", expected), ("by_artefact", found)):
        odd = [str(path) for path in files if subject.folder(folder) not in Path(path).parents]
        yield verdict(f"generate was asked for {folder} and wrote {odd[:1]}", not odd)
    for mine, own in zip(found, expected, strict=False):
        same = Path(mine).read_bytes() == Path(own).read_bytes()
        yield verdict(f"{Path(own).name} is another one when the artefact alone generates it", same)


def two_ranks(subject: SupervisorSubject) -> Iterator[Finding]:
    """A step is what all processes count together, not what one of them sees."""
    if importlib.util.find_spec("deepspeed") is None:
        raise Skipped("DeepSpeed is not installed, without which a run is one process")
    with quiet():
        subject.run("one", dropout=0.0).train()
    subject.trained_by_ranks("ranks", RANKS)
    for step, (mine, own) in enumerate(zip(subject.losses("ranks"), subject.losses("one"), strict=True), 1):
        said = f"the loss of step {step} is {mine:.6g} by {RANKS} processes, {own:.6g} by one"
        yield Finding(said, abs(mine - own) / max(abs(own), 1e-9))
