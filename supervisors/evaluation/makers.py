"""Music for an evaluation: by the model, drawn as `generate` draws it, and by an n-gram, the floor."""

from collections.abc import Sequence

from tqdm import tqdm

from core.contracts.grammar import Grammar
from core.contracts.tokenizer import Ids, Tokenizer
from core.log import logger
from core.model.conditioning import Known
from core.model.generation import generate
from core.model.language_model import LanguageModel
from datatools.ngram import Ngram
from hparams.base import GenerateHParams
from supervisors.generating.drawing import room, sampling_of

ROWS = 64  # pieces at a time


class Maker:
    """Continues prompts (ids without bos; empty ones make pieces from nothing); ids come back with their prompts."""

    def __init__(
        self, model: LanguageModel, floor: Ngram, order: int, tokenizer: Tokenizer, asked: GenerateHParams
    ) -> None:
        self._model, self._floor, self._order = model, floor, order
        self._tokenizer, self._asked = tokenizer, asked
        self._grammar: Grammar | None = None
        make = getattr(tokenizer, "grammar", None)
        try:
            # No length is asked for: a piece that is cut off is honest, one that is made to end in time is not.
            self._grammar = make(bars=0, length=0) if make is not None else None
        except ValueError as error:
            logger.info("evaluating without a grammar: %s", error)

    def by_model(
        self, prompts: Sequence[Ids], length: int, what: str, known: Known | None = None
    ) -> tuple[list[Ids], int]:
        """Ids of the pieces, and how many of them came to an end by themselves within `length` tokens.

        `known` is what is asked of each piece (b 1 c), under `generate.guidance`.
        """
        tokenizer = self._tokenizer
        length = min(room(self._model, prompt, length) for prompt in prompts)
        with tqdm(desc=what, unit="token", dynamic_ncols=True) as bar:
            made = generate(
                self._model,
                prompts,
                bos_id=tokenizer.bos_id,
                eos_id=tokenizer.eos_id,
                pad_id=tokenizer.pad_id,
                length=length,
                sampling=sampling_of(self._asked),
                grammar=self._grammar,
                max_batch=ROWS,
                known=known,
                guidance=self._asked.guidance,
                progress=bar.update,
            )
        return [piece.ids for piece in made], sum(piece.ended for piece in made)

    def by_ngram(self, prompts: Sequence[Ids], length: int) -> list[Ids]:
        """The same from the n-gram, which knows no grammar; `generate.top_p` holds for it too."""
        seed, top_p = self._asked.seed, self._asked.top_p
        made = self._floor.sample(prompts, length, seed, order=self._order, top_p=top_p)
        return [[*prompt, *ids] for prompt, ids in zip(prompts, made, strict=True)]
