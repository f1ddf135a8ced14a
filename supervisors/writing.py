"""Generated pieces as files: .mid, .png, .json and, where the tokens are ABC, .abc."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from core.errors import HubError
from core.files import atomic, write_json, write_text
from core.generation import Generated, generate
from core.grammar import Grammar
from core.log import warn_once
from core.model import LanguageModel
from core.sampling import Sampling
from core.tokenizer import Tokenizer
from datatools import pianoroll, scores
from hparams.base import GenerateHParams, HParams

TRIES = 5  # draws of a piece that came out without a note, before giving up


def write_samples(model: LanguageModel, tokenizer: Tokenizer, hparams: HParams, folder: Path) -> list[Path]:
    """Generates `generate.count` pieces into `folder`; returns the .mid files.

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
                for position, drawn_piece in _draw(model, tokenizer, asked, prompt, row, attempt, bar.update):
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


def prompt_ids(tokenizer: Tokenizer, asked: GenerateHParams) -> list[int]:
    """Ids of the first beats of the prompt file; no ids without one."""
    if not asked.prompt:
        return []
    try:
        piece = scores.read(asked.prompt)
    except (ValueError, OSError) as error:
        raise HubError(f"generate.prompt: {asked.prompt} cannot be read: {error}") from error
    if asked.prompt_beats:
        score = piece.score.copy()
        end = round(asked.prompt_beats * score.ticks_per_quarter)
        clipped = score.clip(0, end)
        for note in (note for track in clipped.tracks for note in track.notes):
            note.duration = min(note.duration, end - note.time)  # what is held over the border sounds up to it
        if not any(len(track.notes) for track in clipped.tracks):
            raise HubError(f"generate.prompt: {asked.prompt} has no note in its first {asked.prompt_beats:g} beats")
        piece = scores.piece_from_score(clipped, source=piece.source, title=piece.title, sha256=piece.sha256)
    opening = getattr(tokenizer, "opening", list)  # a prompt as the grammar may go on from
    try:
        return list(opening(tokenizer.encode(piece)))
    except ValueError as error:
        raise HubError(f"generate.prompt: the tokenizer cannot tell {asked.prompt}: {error}") from error


def sampling_of(asked: GenerateHParams) -> Sampling:
    """How the hyper-parameters say to draw."""
    return Sampling(
        temperature=asked.temperature,
        top_k=asked.top_k,
        top_p=asked.top_p,
        min_p=asked.min_p,
        seed=asked.seed,
        repetition_penalty=asked.repetition_penalty,
    )


def _draw(
    model: LanguageModel,
    tokenizer: Tokenizer,
    asked: GenerateHParams,
    prompt: list[int],
    row: int | None,
    attempt: int,
    progress: Any,
) -> list[tuple[int, Generated]]:
    positions = list(range(asked.count)) if row is None else [row]
    grammar = _grammar(tokenizer, prompt, asked)
    bars = _bar_counter(tokenizer, prompt, asked.bars) if asked.bars and grammar is None else None
    pieces = generate(
        model,
        [prompt] * len(positions),
        bos_id=tokenizer.bos_id,
        eos_id=tokenizer.eos_id,
        pad_id=tokenizer.pad_id,
        length=asked.length,
        sampling=sampling_of(asked),
        grammar=grammar,
        first_row=positions[0] + attempt * asked.count,
        progress=progress,
        stop=bars,
    )
    return list(zip(positions, pieces, strict=True))


def _grammar(tokenizer: Tokenizer, prompt: list[int], asked: GenerateHParams) -> Grammar | None:
    """What the tokenizer says may follow what, for the bars and tokens asked for; None where it cannot tell."""
    make = getattr(tokenizer, "grammar", None)
    if make is None:
        return None
    bars = asked.bars
    if bars and prompt:
        bars += len(_bar_starts(tokenizer)(prompt))
    try:
        grammar: Grammar = make(bars=bars, length=asked.length + len(prompt))
    except ValueError as error:
        warn_once(f"generating without a grammar: {error}")
        return None
    return grammar


def _bar_starts(tokenizer: Tokenizer) -> Callable[[list[int]], Sequence[int]]:
    starts: Callable[[list[int]], Sequence[int]] | None = getattr(tokenizer, "bar_starts", None)
    if starts is None:
        raise HubError("generate.bars: this tokenizer does not know its bars; give generate.length (tokens) instead")
    return starts


def _bar_counter(tokenizer: Tokenizer, prompt: list[int], bars: int) -> Callable[[int, list[int]], bool]:
    starts = _bar_starts(tokenizer)
    most = bars + len(starts(prompt))
    return lambda row, ids: len(starts(ids)) > most


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
            "names": [tokenizer.token(id) for id in piece.ids],
            "prompt_tokens": piece.prompt_length,
            "ended": piece.ended,
            "notes": _notes(tokenizer, piece),
            "settings": settings,
            **facts,
        },
    )
    return midi
