"""`bench`: how fast every backbone trains and plays on this machine, beside other people's models of the same size."""

import argparse
import shlex
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import HubError
from core.files import write_json, write_text
from core.log import logger
from core.words import counted
from hparams.bench import BenchHParams
from hparams.loading import section_of_words
from plugins.manager import load_manager
from supervisors.asking import runs_folder

if TYPE_CHECKING:  # what they import takes seconds, and a wrong word is answered before
    from supervisors.bench.models import Model
    from supervisors.bench.session import Session


def bench(options: argparse.Namespace) -> int:
    """Measures, prints the table, writes bench.json, bench.md and bench.png; 130 when interrupted."""
    if options.hparams or options.run:
        raise HubError("bench takes key=value words alone, e.g. bench dim=256 layers=6 length=1024")
    if any(word.startswith("bench.") for word in options.words):
        raise HubError("the keys of bench stand by themselves, e.g. quick=true, not bench.quick=true")
    settings: BenchHParams = section_of_words(BenchHParams(), options.words)
    import torch

    from supervisors.bench.machine import facts
    from supervisors.bench.models import choose
    from supervisors.bench.session import Session
    from supervisors.training.precision import choose as choose_precision

    if settings.device == "cuda" and not torch.cuda.is_available():
        raise HubError("device is 'cuda', and PyTorch finds no GPU here; leave it away")
    models, notes = choose(settings, load_manager())
    dtype, why = choose_precision("auto", torch.device(settings.device))
    precisions = ["fp32"] if dtype == torch.float32 else ["fp32", "bf16"]
    began = time.time()
    about = facts(settings.device)
    about["when"] = time.strftime("%Y-%m-%d", time.localtime(began))
    about["command"] = shlex.join(["swaptunes", "bench", *options.words])
    about["best_precision"] = f"{precisions[-1]} ({why})"
    for note in notes:
        logger.warning(note)
    session = Session(settings, models, precisions)
    status = 0
    try:
        session.measure()
    except KeyboardInterrupt:
        status = 130
        notes.append("Interrupted: what had not been measured is missing.")
    notes += session.notes
    if not any(cell.samples for cell in session.cells):
        print("swaptunes: nothing was measured", file=sys.stderr)
        return status or 1
    about |= {"threads": session.threads, "seconds": time.time() - began}
    out = Path(settings.out) if settings.out else runs_folder() / "bench"
    write(out, settings, about, models, session, notes)
    return status


def write(
    out: Path,
    settings: BenchHParams,
    about: dict[str, Any],
    models: "list[Model]",
    session: "Session",
    notes: list[str],
) -> None:
    """The three files, and the table of comparisons on the screen."""
    from supervisors.bench.page.page import page
    from supervisors.bench.page.plot import plot
    from supervisors.bench.page.rows import rows
    from supervisors.bench.peers import PEERS

    titles = {model.name: model.title for model in models}
    parameters = {model.name: model.parameters for model in models} | session.parameters
    shapes = {model.name: model.shape for model in models}
    compared = rows(session.cells, parameters, settings.length, session.precisions)
    write_json(
        out / "bench.json",
        {
            "machine": about,
            "settings": asdict(settings),
            "models": {model.name: {"title": model.title, "shape": model.shape} for model in models},
            "parameters": parameters,
            "cells": [cell.plain() for cell in session.cells],
            "compared": [asdict(row) for row in compared],
            "notes": notes,
        },
    )
    text = page(settings, about, titles, parameters, shapes, compared, session.cells, notes)
    write_text(out / "bench.md", text)
    used = {module for model in models if not model.spec.ours for module in PEERS[model.name].requires} | {"torch"}
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items() if version and name in used)
    size = parameters[models[0].name]
    plot(
        session.cells,
        titles,
        {model.name for model in models if model.spec.ours},
        session.precisions[-1],
        f"{about['cpu'] if about['device'] == 'cpu' else about['device']}, {counted(about['threads'], 'thread')}; "
        f"models of {f'{size / 1e6:.1f} M' if size >= 1e5 else f'{size:,}'} parameters; {versions}",
        out / "bench.png",
    )
    print(text.partition("\n![")[0])
    print(f"page   {out / 'bench.md'}\nplot   {out / 'bench.png'}\nfigures {out / 'bench.json'}")
