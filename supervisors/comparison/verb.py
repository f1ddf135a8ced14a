"""`compare`: trains what is missing at equal parameters and tokens, in several seeds, and sets it side by side."""

import argparse
import itertools
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterable, Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from types import FrameType

from core.errors import HubError
from core.files import write_json, write_text
from core.log import logger
from core.words import counted
from hparams.base import HParams
from hparams.compare import CompareHParams
from hparams.loading import dump, from_file, load, plain, section_of_words
from plugins.manager import Manager, load_manager
from supervisors.asking import insist_same, runs_folder
from supervisors.comparison.sweep import folder_name, plans, swept

# What tells runs of one model in other seeds apart, or does not touch the model.
BESIDE = ("name", "seed", "generate", "checkpoint", "evaluate")
PAGE = ("compare.json", "compare.png", "README.md", "index.html")
# A run of its own process, so that nothing of one reaches the next; -P: the current folder shadows no package.
CHILD = (sys.executable, "-P", "-c", "from supervisors.run import main; main()")


def compare(options: argparse.Namespace) -> int:
    """Compares runs and presets; writes README.md, compare.json and compare.png to the folder of its name."""
    manager = load_manager()
    if options.hparams or options.run:
        raise HubError("compare takes its runs and presets as plain words, e.g. compare mamba_remi lstm_remi")
    subjects = [word for word in options.words if "=" not in word]
    own = [word for word in options.words if word.startswith("compare.")]
    words = [word for word in options.words if "=" in word and word not in own and not word.startswith("name=")]
    names = [word.removeprefix("name=") for word in options.words if word.startswith("name=")]
    settings: CompareHParams = section_of_words(CompareHParams(), own, "compare.")
    folder = runs_folder() / _plain_name(names[-1] if names else "compare")
    subjects = [_run_of(subject, manager) for subject in subjects]
    standing = [Path(subject) for subject in subjects if (Path(subject) / "hparams.yaml").exists()]
    presets = [subject for subject in subjects if Path(subject) not in standing]
    rows = plans(presets, words)
    if len(set(subjects)) + len(rows) - len(presets) < 2:
        raise HubError("compare needs two runs or presets at least, e.g. compare mamba_remi lstm_remi compare.seeds=3")
    if not presets and (words or own):
        raise HubError(f'"{(words or own)[0]}" changes nothing: every run given stands already')
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise HubError(
            "compare starts its runs itself; train them under your launcher first, and compare their folders"
        )

    lost = [preset for preset in presets if Path(preset).name != preset and not preset.endswith((".yaml", ".yml"))]
    if lost:
        raise HubError(f"{lost[0]} is not a run: it has no hparams.yaml; give a run's folder or a preset")
    runs = _grouped(standing, manager, [row.label for row in rows])
    planned: dict[str, HParams] = {}
    for row in rows:
        hparams = load(row.source, row.words, preset=manager.preset, section=manager.section)
        planned[row.label] = replace(hparams, name=folder_name(row, _plain_name(row.source)))
    if planned:
        logger.info(_how_many(len(planned), settings.seeds))
        equalize(list(planned.values()), settings, manager, folder, swept(words))
        if settings.seeds == 1:
            logger.warning("one seed: intervals cover the pieces alone, and nothing is ranked")
    total, took = len(planned) * settings.seeds, [0.0]  # seconds
    for number, (label, seed) in enumerate((label, seed) for seed in range(settings.seeds) for label in planned):
        minutes = counted(round(max(took) * (total - number) / 60), "minute")
        left = f"; {minutes} to go, by the longest so far" if any(took) else ""
        logger.info("run %d of %d: %s, seed %d%s", number + 1, total, label, seed, left)
        hparams = replace(deepcopy(planned[label]), seed=seed, name=f"{planned[label].name}-seed{seed}")
        began = time.monotonic()
        train(hparams, folder)
        took.append(time.monotonic() - began)
        runs.setdefault(label, []).append(folder / hparams.name)

    from datatools.writing.page.page import from_markdown
    from supervisors.comparison.page import figure, page
    from supervisors.comparison.rows import collect

    groups = collect(runs)
    _keep_earlier(folder, [entry.row.name for group in groups for entry in group.entries])
    write_json(folder / "compare.json", [group.plain() for group in groups])
    figure(groups, folder / "compare.png")
    text = page(groups)
    write_text(folder / "README.md", text)
    write_text(folder / "index.html", from_markdown(f"{folder.name}: comparison", text, folder))
    print(text)
    print(f"page  {folder / 'index.html'}")
    return 0


def _how_many(models: int, seeds: int) -> str:
    """How many runs there will be, and why."""
    one = " (compare.seeds=1 for one, which ranks nothing)" if seeds > 1 else ""
    return f"{counted(models * seeds, 'run')}: {counted(models, 'model')} x {counted(seeds, 'seed')}{one}"


def equalize(
    plans: list[HParams], settings: CompareHParams, manager: Manager, folder: Path, swept: Collection[str] = ()
) -> None:
    """Gives every plan the same number of parameters, and of tokens or minutes; prepares its data on the way.

    Where the width or the steps themselves are `swept`, they stay as asked.
    """
    from supervisors.comparison import matching
    from supervisors.training.token_supervisor import TokenSupervisor, default_steps, packs, parameter_count

    target, tokens = settings.parameters, settings.tokens
    supervisors = [manager.supervise(hparams, folder / hparams.name) for hparams in plans]
    for supervisor in supervisors:
        if not isinstance(supervisor, TokenSupervisor):
            name = supervisor.hparams.supervisor.name
            raise HubError(f'supervisor "{name}" counts no tokens, by which compare makes runs equal')
    for hparams, supervisor in zip(plans, supervisors, strict=True):
        supervisor.load_data()
        model = matching.match_parameters(supervisor, 0 if "backbone.dim" in swept else target)
        if model is None:
            for other in supervisors:
                other.load_data()
            size = matching.common_size(supervisors, target)
            common = f"; the nearest size of all: compare.parameters={size}" if size else "; no size near it suits all"
            raise HubError(
                f"no width gives {hparams.name} {target:,} parameters within {matching.TOLERANCE:.0%}{common}; "
                "or change its backbone.*"
            )
        target = target or parameter_count(model)
        hparams.train.patience = 0  # who stops early has seen fewer tokens
        batches = supervisor.build_batches(packs(model))
        if settings.minutes:
            rate = matching.tokens_per_minute(train, hparams, folder / f"{_plain_name(hparams.name)}.rate.json")
            hparams.train.steps = matching.steps_for(round(rate * settings.minutes), batches)
        elif "train.steps" not in swept:
            tokens = tokens or matching.tokens_of(hparams.train.steps or default_steps(batches), batches)
            hparams.train.steps = matching.steps_for(tokens, batches)
        logger.info(
            "%s: %s parameters at a width of %d, %s",
            hparams.name,
            f"{parameter_count(model):,}",
            hparams.backbone.dim,
            counted(hparams.train.steps, "step"),
        )


def train(hparams: HParams, folder: Path) -> None:
    """Trains a run to its end in `folder`, in a process of its own, unless it stands there; HubError when it fails."""
    place = folder / hparams.name
    steps = hparams.train.steps
    if (place / "metrics.jsonl").exists():
        begun = from_file(place / "hparams.yaml", load_manager().section)
        insist_same(begun, hparams, place)
        if begun.train.steps != steps:  # its rates fall towards another end
            raise HubError(
                f"{place} was planned for {counted(begun.train.steps, 'step')}, and {steps:,} are asked for now; "
                "compare under another name=, or with the tokens or minutes of before"
            )
    if concluded(place) == steps:
        return
    plan = folder / f"{hparams.name}.yaml"
    write_text(plan, dump(hparams))
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
    environment = {**os.environ, "SWAPTUNES_RUNS": str(folder), "PYTHONPATH": path}
    command = [*CHILD, "--hparams", str(plan), f"name={hparams.name}"]
    status = _ended(command, environment)
    if status in (130, 143, -signal.SIGINT, -signal.SIGTERM):
        raise KeyboardInterrupt
    if status:
        raise HubError(f"{place} could not be trained (exit {status}, its reason is above); mend it and compare again")
    plan.unlink()


def _ended(command: Sequence[str], environment: dict[str, str]) -> int:
    """The exit code of a child; it gets the signals that come here and the time to save, a second Ctrl-C ends it."""
    told: list[int] = []
    child: subprocess.Popen[bytes] | None = None

    def tell(number: int, frame: FrameType | None) -> None:
        told.append(number)
        if child is not None:
            child.kill() if told.count(signal.SIGINT) > 1 else child.terminate()

    # Before there is a child, or a signal that comes while it starts would end this process and leave it alone.
    before = {number: signal.signal(number, tell) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as child:
            if told:
                child.terminate()
            return child.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def concluded(place: Path) -> int:
    """The step at which a run was evaluated, piece by piece; -1 if it was not."""
    try:
        steps = int(json.loads((place / "evaluation.json").read_text(encoding="utf-8"))["steps"])
    except (OSError, ValueError, KeyError, TypeError):
        return -1
    return steps if (place / "evaluation" / "pieces.jsonl").exists() else -1


def _grouped(folders: Iterable[Path], manager: Manager, taken: Iterable[str] = ()) -> dict[str, list[Path]]:
    """Runs that differ in their seed alone, under the first one's name, or its path where that name is `taken`.

    Of several seeds the name goes without the "-seed0" that `compare` gave it.

    HubError for a seed given twice: the same run again would pass for two that agree.
    """
    models: dict[str, dict[int, Path]] = {}
    for place in folders:
        if concluded(place) < 0:
            raise HubError(f"{place} has not been evaluated; finish it, or: evaluate --run {shlex.quote(str(place))}")
        tree = plain(from_file(place / "hparams.yaml", manager.section))
        key = json.dumps({name: value for name, value in tree.items() if name not in BESIDE}, sort_keys=True)
        seeds = models.setdefault(key, {})
        if tree["seed"] in seeds:
            raise HubError(
                f"{seeds[tree['seed']]} and {place} are one model in one seed ({tree['seed']}), "
                "which tells nothing twice; give one of them"
            )
        seeds[tree["seed"]] = place
    runs: dict[str, list[Path]] = {}
    for seeds in models.values():
        seed, first = next(iter(seeds.items()))
        name = first.name.removesuffix(f"-seed{seed}") if len(seeds) > 1 else first.name
        names = (name, str(first), str(first.absolute()))
        runs[next(each for each in names if each not in {*runs, *taken})] = list(seeds.values())
    return runs


def _run_of(subject: str, manager: Manager) -> str:
    """The folder that a bare name of a run stands for, as for other verbs; a preset of this name goes before."""
    named = runs_folder() / subject
    plain = Path(subject).name == subject and not Path(subject).exists()
    if plain and subject not in manager.preset_names() and (named / "hparams.yaml").exists():
        return str(named)
    return subject


def _keep_earlier(folder: Path, names: Collection[str]) -> None:
    """Moves away what an earlier comparison left in the folder, unless all its models are compared again."""
    try:
        groups = json.loads((folder / "compare.json").read_text(encoding="utf-8"))
        earlier = {str(model["name"]) for group in groups for model in group["models"]}
    except (OSError, ValueError, KeyError, TypeError):
        return
    if earlier <= set(names):
        return
    place = next(place for n in itertools.count(1) if not (place := folder / f"earlier_{n}").exists())
    place.mkdir()
    for name in PAGE:
        if (folder / name).exists():
            (folder / name).rename(place / name)
    logger.info("the comparison of %s that stood in %s lies in %s now", ", ".join(sorted(earlier)), folder, place)


def _plain_name(name: str) -> str:
    if Path(name).suffix in (".yaml", ".yml"):
        return Path(name).stem
    if not name or Path(name).name != name or name in (".", ".."):
        raise HubError(f"{name!r} is neither a run nor a plain name; give a run's folder or a preset")
    return name
