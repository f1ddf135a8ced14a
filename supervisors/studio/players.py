"""The models that the studio can play: the runs that lie here, opened when they are asked for, a few held in memory."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from core.contracts.backbone import nbytes
from core.contracts.control import Control, describe_example
from core.contracts.grammar import Grammar
from core.contracts.tokenizer import Ids, Tokenizer
from core.errors import HubError
from core.model.conditioning import Known
from core.model.interleaving import Line, Wish
from core.model.language_model import LanguageModel
from core.names import did_you_mean
from plugins.manager import Manager
from supervisors.generating import drawing
from supervisors.generating.asked import asked_of
from supervisors.opening import opened
from supervisors.studio.asking import DrawRequest
from supervisors.studio.states import Prefix
from supervisors.training.data.controls import controls_of

GRAMMARS = 16  # of one model, by bars and length, that are held
MOST = 8192  # tokens of a prompt, or of a piece whose model's memory grows with it


class Gone(HubError):
    """A model that was there is there no more."""


class Player:
    """One model, ready to be streamed."""

    def __init__(self, name: str, folder: Path, manager: Manager) -> None:
        try:
            supervisor = opened(folder, [], manager, ("generate.",))
        except (ValueError, OSError):
            raise
        except Exception as error:  # a file of the model that was changed by hand may break anything
            raise HubError(f"{name} cannot be opened: {type(error).__name__}: {error}") from error
        model, tokenizer = getattr(supervisor, "concluded", None), getattr(supervisor, "tokenizer", None)
        if not isinstance(model, LanguageModel) or tokenizer is None:
            raise HubError(f"{name} is no model of the next token, which alone can be played while it draws")
        self.name, self.folder, self.manager, self.supervisor = name, folder, manager, supervisor
        self.model: LanguageModel = model.eval()
        self.tokenizer: Tokenizer = tokenizer
        self.key = (name, supervisor.known["weights"] if supervisor.known else "")
        self.lock = threading.Lock()  # of the tokenizer, beside the engine's thread
        sizes = [nbytes(model.init_state(1, length)) for length in (64, 128)]
        self.constant = sizes[0] == sizes[1]  # memory does not grow with the piece
        self.most = MOST if self.constant else self._longest()
        self._grammars: OrderedDict[tuple[int, int], Grammar | None] = OrderedDict()
        self._grammar_lock = threading.Lock()
        self.grammar([], 0, 0)

    def _longest(self) -> int:
        """Tokens that the model can hold at most, of powers of two."""
        most = MOST
        while most > 64:
            try:
                self.model.init_state(1, most)
                return most
            except ValueError:
                most //= 2
        return most

    def capacity(self, prompt: int, length: int) -> int:
        """Room for a prompt of so many tokens and `length` more (0: as many as there may be); HubError for too many.

        A power of two, so that pieces of unlike length share steps.
        """
        if prompt >= self.most or (not self.constant and prompt + length > self.most):
            raise HubError(f"{prompt + length:,} tokens are too many for {self.name}; expected at most {self.most:,}")
        if self.constant:
            return 1 << 40
        needed = prompt + length + 1 if length else self.most
        return min(max(64, 1 << (needed - 1).bit_length()), self.most)

    def grammar(self, prompt: Ids, length: int, bars: int) -> Grammar | None:
        """What may follow what, as `generate` has it for so many tokens and bars behind the prompt."""
        told = len(drawing.bar_starts(self.tokenizer)(prompt)) if bars and prompt else 0
        return self.grammar_of(bars and bars + told, length and length + len(prompt))

    def grammar_of(self, bars: int, length: int = 0) -> Grammar | None:
        """What may follow what in whole pieces of so many bars and tokens; None where the tokenizer cannot tell."""
        key = (bars, length)
        with self._grammar_lock:
            if key not in self._grammars:
                self._grammars[key] = drawing.grammar_of(self.tokenizer, *key)
                while len(self._grammars) > GRAMMARS:
                    self._grammars.popitem(last=False)
            return self._grammars[key]

    def wish(self, asked: DrawRequest, tokens: Ids, length: int = 0, bars: int = 0) -> Wish:
        """How a piece of so many tokens and bars is to be drawn; HubError for what the model has not."""
        known = self.known(asked.controls, asked.guidance)
        grammar = self.grammar(tokens, length, bars)
        return Wish(drawing.sampling_of(asked), grammar=grammar, known=known, guidance=asked.guidance)

    def line(self, wish: Wish, prompt: Ids) -> Line:
        """A piece behind a prompt that the model has not read yet; ValueError for one that is no music."""
        return Line(self.model, wish, prompt, (self.tokenizer.bos_id, self.tokenizer.eos_id, self.tokenizer.pad_id))

    def prefix(self, wish: Wish) -> Prefix:
        """Names the states of pieces of this model that know what this one knows."""
        known = None if wish.known is None else [part.tolist() for part in wish.known]
        return Prefix(self.key, known, wish.rows)

    def bar_counter(self, prompt: Ids, bars: int) -> Callable[[Ids], bool]:
        """Whether ids hold more than `bars` bars behind the prompt."""
        counter = drawing.bar_counter(self.tokenizer, prompt, bars)
        return lambda ids: counter(0, ids)

    def known(self, controls: dict[str, Any], guidance: float) -> Known | None:
        """What is asked of a piece; HubError as `generate.controls` has it."""
        hparams = deepcopy(self.supervisor.hparams)
        hparams.generate.controls, hparams.generate.guidance = controls, guidance
        return asked_of(self.manager, hparams)

    def about(self) -> dict[str, Any]:
        """What a page has to know."""
        hparams = self.supervisor.hparams
        controls: Sequence[Control] = controls_of(self.manager, hparams)
        return {
            "name": self.name,
            "backbone": hparams.backbone.name,
            "tokenizer": hparams.tokenizer.name,
            "parameters": self.model.parameter_count(),
            "streams": self.model.streams,
            "constant_memory": self.constant,
            "most_tokens": None if self.constant else self.most,
            "most_prompt": self.most - 1,
            "bars": hasattr(self.tokenizer, "bar_starts"),
            "controls": {
                name: {"describe": control.describe(), "example": describe_example(control)}
                for name, control in zip(hparams.model.controls, controls, strict=True)
            },
        }


class Players:
    """Players by name. `get` may be called from any thread and takes a second the first time."""

    def __init__(self, manager: Manager, runs: Path, own: Path | None, most: int) -> None:
        """`runs` holds runs, `own` is the one that was asked for; `most` are held in memory."""
        self.manager, self.runs, self.own, self.most = manager, runs, own, most
        self._held: OrderedDict[str, tuple[int, Player]] = OrderedDict()
        self._lock = threading.Lock()

    def folders(self) -> dict[str, Path]:
        """Name -> folder of everything that has a model now, the one that was asked for first."""
        found = {self.own.resolve().name: self.own} if self.own is not None else {}
        runs = sorted(self.runs.iterdir()) if self.runs.is_dir() else []
        for folder in runs:
            if (folder / "model" / "config.json").is_file():
                found.setdefault(folder.name, folder)
        return found

    def get(self, name: str) -> Player:
        """The player of that name, read anew where its folder has changed.

        HubError for a name that there is not, a damaged model; Gone where the folder is away.
        """
        folder = self.folders().get(name)
        with self._lock:
            if folder is None or not _written(folder):
                if self._held.pop(name, None) is not None or folder is not None:
                    raise Gone(f"{name} is there no more; choose another model")
                raise HubError(f'there is no model "{name}".{did_you_mean(name, self.folders())}')
            written, player = self._held.get(name, (0, None))
            if player is None or written != _written(folder):
                written, player = _written(folder), Player(name, folder, self.manager)
            self._held[name] = written, player
            self._held.move_to_end(name)
            while len(self._held) > self.most:
                self._held.popitem(last=False)
            return player


def _written(folder: Path) -> int:
    """When the model was written, in nanoseconds; 0 where there is none."""
    for place in (folder / "model" / "config.json", folder / "config.json"):
        try:
            return place.stat().st_mtime_ns
        except OSError:
            continue
    return 0
