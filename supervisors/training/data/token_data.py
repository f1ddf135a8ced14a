"""The data of a run under its tokenizer: the first half of a supervisor of tokens, and alone all that `prepare` needs.

Nothing here needs PyTorch, which takes longer to import than a small corpus to prepare.
"""

import functools
import json
from typing import Any

from core.contracts.dataset import SPLITS
from core.contracts.tokenizer import Tokenizer
from core.errors import HubError
from core.words import counted
from datatools.batching.controls import Beside
from datatools.preparing import cache
from datatools.preparing.losses import advice
from datatools.preparing.store import TokenStore
from datatools.preparing.suggestions import suggestions
from hparams.base import LatentHParams
from hparams.loading import plain
from plugins.making import insist_importable
from supervisors.artefacts import described
from supervisors.training.base import Supervisor
from supervisors.training.data import controls
from supervisors.training.data.following import follow


class TokenData(Supervisor):
    """Prepares a token store, and says what is in it. What a model would take of it a subclass says."""

    store: TokenStore
    tokenizer: Tokenizer
    known: dict[str, Any] | None = None  # what training said of a model that was opened
    beside: Beside | None = None  # what is known beside the tokens
    takes_streams = False  # whether the model reads tokens of several ids
    takes_controls = False  # whether the model reads what batches know beside the tokens
    takes_latents = False  # whether the model holds music in latent vectors

    def load_data(self) -> None:
        hparams = self.hparams
        dataset = self.manager.make("dataset", hparams.dataset)
        for turn in (True, False):  # the first process makes what the others find
            if self.ranks.first is turn:
                controls.learn(self.manager, hparams, dataset)
            self.ranks.barrier()
        self.insist_fits()
        entry = self.manager.tokenizers[hparams.tokenizer.name]
        assert entry.build is not None
        build = functools.partial(entry.build, hparams.tokenizer)
        for turn in (True, False):
            if self.ranks.first is turn:
                follow(hparams, dataset, self.manager, progress=turn)
                key = json.dumps([entry.distribution, entry.version, plain(hparams)["tokenizer"]], sort_keys=True)
                self.store = cache.prepare(dataset, build, key, hparams.data, progress=turn)
            self.ranks.barrier()
        tokenizer = described.build_tokenizer(self.manager, hparams, self.store.tokenizer_folder)
        if self.known is not None and tokenizer.fingerprint() != self.tokenizer.fingerprint():
            raise HubError(
                f"the tokenizer that {self.folder.path} was trained with is not the one that its data gives now; "
                "restore the data, or train under another name="
            )
        self.tokenizer = tokenizer
        for turn in (True, False):
            if self.ranks.first is turn:
                self.beside = controls.stored(self.manager, hparams, self.store, dataset, build, progress=turn)
            self.ranks.barrier()

    def insist_fits(self) -> None:
        """HubError, before anything is read, where tokenizer or controls are more than this supervisor takes."""
        hparams, name = self.hparams, self.hparams.supervisor.name
        fresh = described.build_tokenizer(self.manager, hparams, None)
        insist_importable(self.manager.tokenizers[hparams.tokenizer.name])
        if fresh.streams > 1 and not self.takes_streams:
            raise HubError(
                f"tokenizer {hparams.tokenizer.name} has {fresh.streams} streams and supervisor {name} takes one; "
                "choose another tokenizer= or supervisor="
            )
        if hparams.model.controls and not self.takes_controls:
            raise HubError(
                f"model.controls is {hparams.model.controls} and supervisor {name} takes none; "
                "give model.controls=[] or choose another supervisor="
            )
        controls.insist_suits(self.manager, hparams, fresh)
        self.insist_answers()

    def insist_answers(self) -> None:
        """HubError where `generate.*` asks for what no model of this kind has."""
        controls.wishes(self.manager, self.hparams)
        for key, value in vars(self.hparams.generate.latent).items():
            if not self.takes_latents and value != getattr(LatentHParams(), key):
                raise HubError(
                    f"generate.latent.{key} is {value!r}, and supervisor {self.hparams.supervisor.name} has no latent "
                    "vectors; leave it out, or train a model that has"
                )

    def prepared(self) -> str:
        manifest, failures = self.store.manifest, self.store.failures_path
        lines = [
            f"{split:<6} " + ", ".join(_told(key, value) for key, value in counts.items())
            for split, counts in manifest["counts"].items()
        ]
        lines += duplicates(self.store)
        if bad := manifest["failures"]:
            lines.append(f"not used     {counted(bad, 'file')} that could not be read or told: {failures}")
        lines += advice(manifest, self.hparams.tokenizer)
        lines += suggestions(self.store, self.hparams.data.length * self.hparams.data.batch_size)
        return "\n".join([*lines, f"store  {self.store.folder}"])


def _told(key: str, value: float) -> str:
    """`1 piece`, `2 pieces`, `5 notes told`."""
    return counted(round(value), key[:-1]) if key.endswith("s") else f"{value:,.0f} {key.replace('_', ' ')}"


def duplicates(store: TokenStore) -> list[str]:
    """What became of music that is there more than once: copies of a file, what sounds alike, what is left out."""
    held = [(info.sha256, info.index) for split in SPLITS for info in store.pieces(split)]
    copies = len(held) - len(set(held))
    near, out = store.manifest["near_duplicates"] - copies, store.manifest["left_out"]
    where = "kept, on the same side of the split as what"
    lines = []
    if copies:
        alike = "is an exact copy of another" if copies == 1 else "are exact copies of others"
        lines.append(f"copies       {counted(copies, 'file')} {alike}: {where} is copied")
    if near > 0:
        published = store.manifest["near_across_splits"]
        across = f", but {published:,} of them as published" if published else ""
        lines.append(f"alike        {counted(near, 'near-duplicate')}: {where} sounds alike{across}")
    if out:
        told = "like pieces of two sides, left out"
        lines.append(f"left out     {counted(out, 'near-duplicate')}, {told}: {store.folder / 'left_out.jsonl'}")
    return lines
