"""From the words of a command to settings and a run folder."""

import argparse
import os
from pathlib import Path

from core.errors import HubError
from core.names import did_you_mean
from hparams.base import HParams
from hparams.following import settle, settle_controls
from hparams.loading import changed, from_file, load, override
from plugins.manager import load_manager
from supervisors.artefacts.shipped import PREFIX, shipped
from supervisors.intents import path_meant

# How a step is spread over processes and memory, which changes no figure but by rounding (and dropout).
SPREAD = ("train.engine", "train.accumulate", "deepspeed.zero_optimization")

# What may change when a run goes on: how long, how often, and what to generate.
FREE = ("train.steps", "train.trackers", "evaluate.every", "checkpoint.", "generate.", *SPREAD)


def asked(options: argparse.Namespace) -> tuple[HParams, Path]:
    manager = load_manager()
    if options.run:
        if options.hparams:
            raise HubError("--run goes on with what the folder says; leave --hparams away, or give --hparams alone")
        folder = existing(options, options.verb)
        hparams = of_run(folder, options.words)
    else:
        if not options.hparams and options.words and "=" not in options.words[0]:
            options.hparams = options.words.pop(0)  # no preset, or it would be here already
        if not options.hparams:
            raise HubError(f"{options.verb} needs --hparams PRESET|FILE or --run FOLDER")
        for word in (options.hparams, *options.words):
            if "=" not in word and (hint := path_meant(word)):
                raise HubError(f"{word} is no {'preset' if word == options.hparams else 'setting'}.{hint}")
        hparams = load(options.hparams, options.words, preset=manager.preset, section=manager.section)
        name = hparams.name
        if not name or Path(name).name != name or not name.isprintable() or name in (".", ".."):
            raise HubError(f"name is {name!r}; expected a plain folder name")
        folder = runs_folder() / hparams.name
        if (folder / "metrics.jsonl").exists():  # else it never got to train, and may be started with other settings
            insist_same(of_run(folder, []), hparams, folder)
    return hparams, folder


def existing(options: argparse.Namespace, verb: str) -> Path:
    if not options.run:
        raise HubError(f"{verb} needs --run FOLDER, a run or an artefact")
    if options.run.startswith(PREFIX):
        return shipped(options.run.removeprefix(PREFIX))
    folder = Path(options.run)
    if folder.is_dir():
        return folder
    named = runs_folder() / options.run  # a run's name stands for its folder
    if folder.name == options.run and named.is_dir():
        return named
    if folder.is_file():
        raise HubError(f"{folder} is a file; expected the folder of a run or an artefact.{path_meant(options.run)}")
    around = folder.parent if folder.name != options.run else runs_folder()
    beside = [path.name for path in around.iterdir() if path.is_dir()] if around.is_dir() else []
    raise HubError(
        f"{folder} is not a folder, nor the name of a run in {runs_folder()}.{did_you_mean(folder.name, beside)}"
    )


def of_run(folder: Path, words: list[str]) -> HParams:
    path = folder / "hparams.yaml"
    if not path.exists():
        raise HubError(f"{folder} is not a run: it has no hparams.yaml")
    section = load_manager().section
    old = from_file(path, section)
    new = override(from_file(path, section), words, section=section)
    insist_same(old, new, folder)
    return new


def insist_same(old: HParams, new: HParams, folder: Path) -> None:
    """HubError naming the settings in which a run that stands differs from what is asked for.

    What `new` leaves to the data is as it was found for the run.
    """
    settle(new.tokenizer, old.tokenizer)
    settle_controls(new, old)
    differ = [key for key in changed(old, new) if not key.startswith(FREE)]
    if differ:
        raise HubError(
            f"{folder} was started with other values of {', '.join(differ)}; give another name= to train anew"
        )


def runs_folder() -> Path:
    """Where runs lie: SWAPTUNES_RUNS, else `runs` in the current folder."""
    return Path(os.environ.get("SWAPTUNES_RUNS", "runs"))


def fresh(folder: Path, stem: str) -> Path:
    number = 1
    while os.path.lexists(folder / f"{stem}_{number:03d}"):  # a link that leads nowhere is somebody's too
        number += 1
    return folder / f"{stem}_{number:03d}"
