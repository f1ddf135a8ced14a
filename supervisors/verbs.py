"""What each verb of the command does, from its words to its exit code."""

import argparse
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.errors import HubError
from core.log import logger
from core.seeds import fresh_seed
from hparams.base import HParams
from plugins.manager import GROUP, LAWFUL, load_manager
from supervisors.asking import asked, existing, fresh


def train(options: argparse.Namespace) -> int:
    """Trains a preset or file, or goes on with a run; evaluates and generates at the end."""
    dry = [word for word in options.words if word in ("dry=true", "dry=false")]
    options.words = [word for word in options.words if word not in dry]
    hparams, folder = asked(options)
    if dry and dry[-1] == "dry=true":
        from supervisors.plan import plan

        with _blaming(hparams):
            print(plan(hparams, folder, load_manager()))
        return 0
    from supervisors.training.base import Interrupted

    supervisor = load_manager().supervise(hparams, folder)
    supervisor.lock()
    try:
        with _blaming(hparams):
            supervisor.train()
        if supervisor.was_finished and supervisor.ranks.first:
            print(f"{folder} is finished; give another name= to train again, or a larger train.steps to go on")
        with _blaming(hparams):
            result = supervisor.conclude()
        if supervisor.ranks.first:
            print(supervisor.summary(result))
            for path in sorted(supervisor.folder.samples.glob("step_*/*.mid")):
                print(f"samples      {path}")
            for path in sorted(supervisor.folder.samples.glob("step_*/index.html")):
                print(f"listen       {path.resolve().as_uri()}")
    except (Interrupted, KeyboardInterrupt) as stop:
        where = f"saved at step {stop.step}" if isinstance(stop, Interrupted) else "interrupted"
        if supervisor.ranks.first:
            alone = supervisor.ranks.world == 1  # a launcher has flags of its own that a person would have to repeat
            again = f"go on with: python -m supervisors.run --run {folder}" if alone else "the same command goes on"
            print(f"\n{where}; {again}", file=sys.stderr)
        return stop.exit_code if isinstance(stop, Interrupted) else 130
    except Exception:
        if supervisor.ranks.first:
            supervisor.folder.forget()  # nothing to go on from: no folder to wonder about
        raise
    finally:
        supervisor.folder.unlock()
    return 0


@contextmanager
def _blaming(hparams: HParams) -> Iterator[None]:
    """Ends what fails, and is no error for people, in a line that names the parts of other packages, if there are any.

    The traceback, which whoever wrote the part needs, is shown before it.
    """
    try:
        yield
    except Exception as error:
        from supervisors.training.base import Interrupted

        if isinstance(error, HubError | Interrupted):
            raise
        from supervisors.artefacts.provenance import plugins_of

        foreign = {
            slot: one for slot, one in plugins_of(load_manager(), hparams).items() if one["distribution"] != GROUP
        }
        if not foreign:
            raise
        logger.error("".join(traceback.format_exception(error)).rstrip())
        named = [f'{slot} "{one["name"]}" of {one["distribution"]} {one["version"]}' for slot, one in foreign.items()]
        checks = [f"check {one['name']}" for slot, one in foreign.items() if slot in LAWFUL]
        said = f"{type(error).__name__}: {' '.join(str(error).split())}"
        way = f"; to examine it by itself: {', '.join(checks)}" if checks else ""
        raise HubError(f"{said}; not all of this is the hub's own: {', '.join(named)}{way}") from error


def prepare(options: argparse.Namespace) -> int:
    """Reads and tokenizes, up to the token store."""
    hparams, folder = asked(options)
    with _blaming(hparams):
        owner = load_manager().data_of(hparams, folder)
        owner.load_data()
        print(owner.prepared())
    return 0


def evaluate(options: argparse.Namespace) -> int:
    """Scores the best model of a run or an artefact again, generates, measures, and writes a page about it."""
    folder = existing(options, "evaluate")
    from supervisors.opening import opened
    from supervisors.training.runfolder import RunFolder

    supervisor = opened(folder, options.words, load_manager(), ("evaluate.", "generate."))
    if not (folder / "hparams.yaml").exists():  # a folder that is meant for sharing stays as it is
        beside = RunFolder(fresh(Path("evaluations"), supervisor.hparams.name))
        beside.model, supervisor.folder = supervisor.folder.model, beside
    with _blaming(supervisor.hparams):
        supervisor.load_data()
    if supervisor.ranks.first:
        supervisor.folder.lock()
    try:
        with _blaming(supervisor.hparams):
            said = supervisor.report()
    finally:
        supervisor.folder.unlock()
    print(said)
    return 0


def generate(options: argparse.Namespace) -> int:
    """Generates from a run or an artefact alone; needs no training data."""
    folder = existing(options, "generate")
    from supervisors.generating.places import place
    from supervisors.opening import opened

    supervisor = opened(folder, options.words, load_manager(), ("generate.",))
    asked = supervisor.hparams.generate
    if not any(word.startswith("generate.seed=") for word in options.words):
        asked.seed = fresh_seed()
    out = place(folder, supervisor.hparams)
    try:
        with _blaming(supervisor.hparams):
            files = supervisor.generate(out)
        for path in files:
            print(path)
    except HubError:
        if out.is_dir() and not any(out.iterdir()):
            out.rmdir()  # no empty folder to wonder about
        raise
    if (out / "index.html").exists():
        print(f"listen {(out / 'index.html').resolve().as_uri()}", file=sys.stderr)
    print(f"generate.seed={asked.seed} draws the same again", file=sys.stderr)
    return 0


def convert(options: argparse.Namespace) -> int:
    """Writes a file of music in another format, by the ending of its name."""
    if len(options.words) != 2 or any("=" in word for word in options.words):
        raise HubError("convert takes a file and the file to write, e.g. convert tune.abc tune.musicxml")
    from datatools.reading import scores
    from datatools.writing import formats

    source, target = map(Path, options.words)
    try:
        piece = scores.read(source)
        if (tunes := scores.count(source)) > 1:
            logger.info(f"{source} holds {tunes} tunes; the first, {piece.title!r}, is written")
        print(formats.save(piece, target, piece.title))
    except (ValueError, OSError) as error:
        raise HubError(f"{source} cannot be written as {target}: {error}") from error
    return 0


def listing(options: argparse.Namespace) -> int:
    """Prints every plugin in a sentence, the broken ones with their error; or all about the one that is named."""
    from supervisors import listing as lines

    if len(options.words) > 1:
        raise HubError("list takes one NAME at the most, e.g. list mamba")
    print(lines.one(load_manager(), options.words[0]) if options.words else lines.everything(load_manager()))
    return 0


def check(options: argparse.Namespace) -> int:
    """Prints the table of laws over one plugin; 1 when one is broken, a skipped one is not.

    With ladder=true what a backbone, with settings of its own, can learn; that is a finding and no fault: 0.
    """
    words = [word for word in options.words if "=" not in word]
    settings = dict(word.split("=", 1) for word in options.words if "=" in word)
    if settings.pop("ladder", "false") == "true":
        return _ladder(words, [f"{key}={value}" for key, value in settings.items()])
    if len(words) != 1 or settings.keys() - {"device", "dtype"}:
        raise HubError("check takes one NAME and device= or dtype=, e.g. check mamba dtype=float32")
    from plugins import checks

    verdicts = checks.run(load_manager(), words[0], **settings)
    print(checks.table(verdicts))
    return 1 if any(verdict.passed is False for verdict in verdicts) else 0


def _ladder(names: list[str], words: list[str]) -> int:
    """Trains one backbone up the sanity ladder and prints what it can do."""
    from hparams.loading import section_of_words
    from plugins.ladder.climb import climb, table

    manager = load_manager()
    if len(names) != 1:
        raise HubError("ladder=true takes one backbone and its settings, e.g. check gated_deltanet ladder=true head=16")
    entry = manager.backbones[names[0]]
    assert entry.build is not None and entry.hparams is not None
    section = section_of_words(entry.hparams(), words)
    print(table(list(climb(entry.build, section))))
    return 0
