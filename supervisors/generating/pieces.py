"""Generated pieces as files: .mid, .png, .json and, where the tokens are ABC, .abc."""

import time
from pathlib import Path
from typing import Any

from tqdm import tqdm

from core.contracts.tokenizer import Tokenizer, token_names
from core.errors import HubError
from core.files import atomic, write_json, write_text
from core.model.conditioning import Known
from core.model.generation import Generated
from core.model.language_model import LanguageModel
from datatools.writing import pianoroll
from hparams.base import HParams
from supervisors.generating.drawing import draw
from supervisors.generating.prompts import prompt_ids

TRIES = 5  # draws of a piece that came out without a note, before giving up


def write_samples(
    model: LanguageModel, tokenizer: Tokenizer, hparams: HParams, folder: Path, known: Known | None = None
) -> list[Path]:
    """Generates `generate.count` pieces into `folder`, each under what is `known` of it; returns the .mid files.

    A piece without a note is drawn again under another row number, and said; HubError when that fails too often.
    """
    asked = hparams.generate
    prompt = prompt_ids(tokenizer, asked)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HubError(f"{folder} cannot be written ({error.strerror}); give another generate.out=") from error
    began = time.perf_counter()
    made: list[Generated | None] = [None] * asked.count
    attempts = [0] * asked.count
    with tqdm(desc="generate", unit="token", dynamic_ncols=True) as bar:
        for attempt in range(TRIES):
            # Rows that are still missing keep their identity: row i of try t draws from (seed, i + t * count, step).
            for row in [row for row, piece in enumerate(made) if piece is None] if attempt else [None]:
                for position, drawn_piece in draw(model, tokenizer, asked, prompt, row, attempt, bar.update, known):
                    attempts[position] = attempt
                    if _notes(tokenizer, drawn_piece):
                        made[position] = drawn_piece
            if all(made):
                break
    empty = sum(piece is None for piece in made)
    if empty:
        raise HubError(
            f"{empty} of {asked.count} pieces had no note in {TRIES} tries; train longer or raise generate.length"
        )
    seconds = time.perf_counter() - began
    drawn = sum(len(piece.ids) - piece.prompt_length for piece in made if piece)
    files = []
    for row, piece in enumerate(piece for piece in made if piece is not None):
        facts = {"row": row + attempts[row] * asked.count, "seconds": seconds, "tokens_per_second": drawn / seconds}
        files.append(_write(tokenizer, hparams, piece, folder / str(row), facts))
    return files


def _notes(tokenizer: Tokenizer, piece: Generated) -> int:
    return sum(len(track.notes) for track in tokenizer.decode(piece.ids).score.tracks)


def _write(tokenizer: Tokenizer, hparams: HParams, piece: Generated, stem: Path, facts: dict[str, Any]) -> Path:
    decoded = tokenizer.decode(piece.ids)
    midi = stem.with_suffix(".mid")
    with atomic(midi) as temporary:
        decoded.score.dump_midi(temporary)
    with atomic(stem.with_suffix(".png")) as temporary:
        pianoroll.plot(
            decoded.score, temporary, title=f"{hparams.name}, seed {hparams.generate.seed}, row {facts['row']}"
        )
    if hparams.tokenizer.name == "abc":
        write_text(stem.with_suffix(".abc"), decoded.abc)
    settings = {key: getattr(hparams.generate, key) for key in vars(hparams.generate)}
    write_json(
        stem.with_suffix(".json"),
        {
            "tokens": piece.ids,
            "names": [" ".join(token_names(tokenizer, token)) for token in piece.ids],
            "prompt_tokens": piece.prompt_length,
            "ended": piece.ended,
            "notes": _notes(tokenizer, piece),
            "settings": settings,
            **facts,
        },
    )
    return midi
