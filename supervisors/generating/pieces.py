"""Generated pieces as files: .mid, .json, what `generate.formats` asks for, and a page of them all."""

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from core.contracts.tokenizer import Tokenizer, token_names
from core.errors import HubError
from core.files import atomic, write_json, write_text
from core.model.conditioning import Known
from core.model.generation import Generated
from core.model.language_model import LanguageModel
from core.words import counted
from datatools.writing import formats, pianoroll
from datatools.writing.page import page, roll
from hparams.base import HParams
from supervisors.generating.drawing import draw
from supervisors.generating.ends import end_of
from supervisors.generating.prompts import prompt_ids

PAGE = "index.html"
ENGRAVED = 8  # pieces of a page that show their score; more would make it heavy
TRIES = 5  # draws of a piece that came out without a note, before giving up


def write_samples(
    model: LanguageModel, tokenizer: Tokenizer, hparams: HParams, folder: Path, known: Known | None = None
) -> list[Path]:
    """Generates `generate.count` pieces into `folder`, each under what is `known` of it; returns the .mid files.

    A piece without a note is drawn again under another row number, and said; HubError when that fails too often.
    """
    asked = hparams.generate
    formats.check("generate.formats", asked.formats)
    prompt = prompt_ids(tokenizer, asked)
    made_folder(folder)
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
    rows = [row + attempt * asked.count for row, attempt in enumerate(attempts)]
    return write_pieces(tokenizer, hparams, [piece for piece in made if piece is not None], rows, folder, seconds)


def write_pieces(
    tokenizer: Tokenizer,
    hparams: HParams,
    pieces: Sequence[Generated],
    rows: Sequence[int],
    folder: Path,
    seconds: float,
) -> list[Path]:
    """Writes pieces, drawn by the numbers `rows` in so many seconds, and their page; returns the .mid files."""
    drawn = sum(len(piece.ids) - piece.prompt_length for piece in pieces)
    ends = [end_of(tokenizer, hparams.generate, piece) for piece in pieces]
    files = []
    for number, (row, piece) in enumerate(zip(rows, pieces, strict=True)):
        facts = {"end": ends[number], "row": row, "seconds": seconds, "tokens_per_second": drawn / seconds}
        files.append(_write(tokenizer, hparams, piece, folder / str(number), facts))
    _page(tokenizer, hparams, pieces, ends, folder)
    return files


def made_folder(folder: Path) -> Path:
    """The folder, made where it is not there yet; HubError where it cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HubError(f"{folder} cannot be written ({error.strerror}); give another generate.out=") from error
    return folder


def _notes(tokenizer: Tokenizer, piece: Generated) -> int:
    return sum(len(track.notes) for track in tokenizer.decode(piece.ids).score.tracks)


def _write(tokenizer: Tokenizer, hparams: HParams, piece: Generated, stem: Path, facts: dict[str, Any]) -> Path:
    asked = hparams.generate
    decoded = tokenizer.decode(piece.ids)
    title = f"{hparams.name}, seed {asked.seed}, row {facts['row']}"
    midi = formats.write(decoded, stem, "mid", title)
    for name in dict.fromkeys([*asked.formats, *getattr(tokenizer, "formats", ())]):
        if name == "png" and piece.prompt_length:
            prompt = tokenizer.decode(piece.ids[: piece.prompt_length]).score
            with atomic(stem.with_name(f"{stem.name}.png")) as temporary:
                pianoroll.plot(decoded.score, temporary, title, given=prompt.end() / prompt.ticks_per_quarter)
        elif name != "mid":
            formats.write(decoded, stem, name, title)
    write_json(
        stem.with_suffix(".json"),
        {
            "tokens": piece.ids,
            "names": [" ".join(token_names(tokenizer, token)) for token in piece.ids],
            "prompt_tokens": piece.prompt_length,
            "ended": piece.ended,
            "notes": _notes(tokenizer, piece),
            "settings": asdict(asked),
            **facts,
        },
    )
    return midi


def _page(
    tokenizer: Tokenizer, hparams: HParams, pieces: Sequence[Generated], ends: Sequence[str], folder: Path
) -> None:
    """All pieces on one page, to be seen and heard in a browser."""
    sections = []
    for row, piece in enumerate(pieces):
        score = tokenizer.decode(piece.ids).score
        drawn = counted(len(piece.ids) - piece.prompt_length, "token")
        facts = f"{counted(score.note_num(), 'note')}, {drawn} drawn, {ends[row]}"
        given = 0.0
        if piece.prompt_length:
            prompt = tokenizer.decode(piece.ids[: piece.prompt_length]).score.to("second")
            given = max((note.time + note.duration for track in prompt.tracks for note in track.notes), default=0.0)
        sections.append(roll.section(score, f"piece{row}", f"Piece {row}", facts, given, engraved=row < ENGRAVED))
    write_text(folder / PAGE, page.page(f"{hparams.name}: {len(pieces)} pieces", "\n".join(sections)))
