"""Settings that were left to the data are made plain: on where the corpus has what they tell, off elsewhere."""

from pathlib import Path

from core.contracts.dataset import Dataset
from core.log import say_once
from core.words import counted
from datatools.preparing import cache
from hparams.base import HParams
from hparams.following import left_open, settle
from plugins.manager import Manager
from supervisors.artefacts import described
from supervisors.artefacts.foreign_configs import is_foreign

ENOUGH = 0.05  # of all pieces: a stray one shall not lengthen all the others
WORDS = {"programs": "drums or more than a piano", "velocities": "several loudnesses", "tempos": "tempos of their own"}


def follow(hparams: HParams, dataset: Dataset, manager: Manager, progress: bool) -> None:
    """Gives each setting of the tokenizer that is still `auto` its value, and says why.

    A run that starts from a model takes the model's; the music of a person is looked at; all else is off.
    """
    section, start = hparams.tokenizer, Path(hparams.model.start)
    if left_open(section) and hparams.model.start and start.is_dir() and not is_foreign(start):
        settle(section, described.settings(start, manager).tokenizer)
    missing = left_open(section)
    if missing and getattr(dataset, "unknown", False) and not hparams.model.start:
        rows = [row for row in cache.surveyed(dataset, hparams.data, progress) if not row.failure]
        for key, of in missing.items():
            having = sum(getattr(row, of) for row in rows)
            setattr(section, key, having >= max(1, ENOUGH * len(rows)))
            has = "has" if 1 in (having, len(rows)) else "have"
            told = f"{having:,} of {counted(len(rows), 'piece')} {has} {WORDS[of]}"
            say_once(f"tokenizer.{key}: {str(getattr(section, key)).lower()} ({told})")  # not for each model compared
    for key in left_open(section):
        setattr(section, key, False)
