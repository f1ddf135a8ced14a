"""What each verb of the command does, from its words to its exit code."""

import argparse
import sys
from pathlib import Path

from core.errors import HubError
from hparams.loading import override
from plugins.manager import describe, load_manager
from supervisors.asking import asked, existing, fresh, only


def train(options: argparse.Namespace) -> int:
    """Trains a preset or file, or goes on with a run; evaluates and generates at the end."""
    hparams, folder = asked(options)
    from supervisors.language_model import LanguageModelSupervisor
    from supervisors.summary import summary
    from supervisors.training.base import Interrupted

    supervisor = LanguageModelSupervisor(hparams, load_manager(), folder)
    supervisor.lock()
    try:
        supervisor.train()
        if supervisor.was_finished and supervisor.ranks.first:
            print(f"{folder} is finished; give another name= to train again, or a larger train.steps to go on")
        result = supervisor.conclude()
        if supervisor.ranks.first:
            samples = sorted(supervisor.folder.samples.glob("step_*/*.mid"))
            print(summary(folder, result, samples, supervisor.store.manifest, supervisor.store.failures_path))
    except (Interrupted, KeyboardInterrupt) as stop:
        where = f"saved at step {stop.step}" if isinstance(stop, Interrupted) else "interrupted"
        if supervisor.ranks.first:
            alone = supervisor.ranks.world == 1  # a launcher has flags of its own that a person would have to repeat
            again = f"go on with: python -m supervisors.run --run {folder}" if alone else "the same command goes on"
            print(f"\n{where}; {again}", file=sys.stderr)
        return stop.exit_code if isinstance(stop, Interrupted) else 130
    finally:
        supervisor.folder.unlock()
    return 0


def prepare(options: argparse.Namespace) -> int:
    """Reads and tokenizes, up to the token store."""
    hparams, folder = asked(options)
    from supervisors.language_model import LanguageModelSupervisor

    supervisor = LanguageModelSupervisor(hparams, load_manager(), folder)
    supervisor.load_data()
    store = supervisor.store
    for split, counts in store.manifest["counts"].items():
        print(f"{split:<6} " + ", ".join(f"{value:,.0f} {key.replace('_', ' ')}" for key, value in counts.items()))
    bad, out = store.manifest["failures"], store.manifest["left_out"]
    print(f"{bad} files not used, {out} near-duplicates left out: {store.failures_path}")
    print(f"store  {store.folder}")
    return 0


def evaluate(options: argparse.Namespace) -> int:
    """Scores the best model of a run or an artefact again, generates, measures, and writes a page about it."""
    folder = existing(options, "evaluate")
    from supervisors.evaluation.report import opened, report
    from supervisors.summary import measures, summary

    supervisor = opened(folder, options.words, load_manager())
    if supervisor.ranks.first:
        supervisor.folder.lock()
    try:
        result = report(supervisor)
    finally:
        supervisor.folder.unlock()
    print(summary(folder, result, [], supervisor.store.manifest, supervisor.store.failures_path))
    print(measures(result))
    print(f"page         {supervisor.folder.report / 'README.md'}")
    return 0


def generate(options: argparse.Namespace) -> int:
    """Generates from a run or an artefact alone; needs no training data."""
    folder = existing(options, "generate")
    manager = load_manager()
    from supervisors.artefacts import artefact
    from supervisors.generating.pieces import write_samples

    found = artefact.read(folder, manager)
    found.hparams.generate.out = ""  # where to write is for who asks to say, not for a folder that somebody shared
    hparams = override(found.hparams, only(options.words, "generate."), section=manager.section)
    model = artefact.build_model(manager, hparams, found.tokenizer)
    artefact.load_into(model, found.weights, folder)
    out = Path(hparams.generate.out) if hparams.generate.out else fresh(folder / "samples", "generated")
    for path in write_samples(model, found.tokenizer, hparams, out):
        print(path)
    return 0


def listing(options: argparse.Namespace) -> int:
    """Prints every plugin with kind, distribution, version and place; the broken ones with their error."""
    rows = [
        (row.kind, row.name, f"{row.distribution} {row.version}", row.where, row.error)
        for row in describe(load_manager())
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for row in rows:
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False))
            + (f"  {row[4]}" if row[4] else "")
        )
    return 0


def check(options: argparse.Namespace) -> int:
    """Prints the table of laws over one plugin; 1 when one is broken, a skipped one is not."""
    words = [word for word in options.words if "=" not in word]
    settings = dict(word.split("=", 1) for word in options.words if "=" in word)
    if len(words) != 1 or settings.keys() - {"device", "dtype"}:
        raise HubError("check takes one NAME and device= or dtype=, e.g. check mamba dtype=float32")
    from plugins import checks

    verdicts = checks.run(load_manager(), words[0], **settings)
    print(checks.table(verdicts))
    return 1 if any(verdict.passed is False for verdict in verdicts) else 0
