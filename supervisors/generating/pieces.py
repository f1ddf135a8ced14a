"""Generated pieces as files: .mid, .json, what `generate.formats` asks for, and a page of them all."""

import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from core.contracts.tokenizer import Tokenizer, token_names
from core.errors import HubError
from core.files import atomic, write_json, write_text
from core.log import logger
from core.model.conditioning import Known
from core.model.generation import Generated
from core.model.language_model import LanguageModel
from core.words import counted
from datatools.writing import formats, pianoroll
from datatools.writing.page import page, roll
from hparams.base import HParams
from supervisors.generating.drawing import draw, room
from supervisors.generating.ends import end_of, ended
from supervisors.generating.prompts import NOTHING, Prompt, prompt_of

PAGE = "index.html"
ENGRAVED = 8  # pieces of a page that show their score; more would make it heavy
TRIES = 5  # draws of a piece that came out without a note, before giving up


def write_samples(
    model: LanguageModel, tokenizer: Tokenizer, hparams: HParams, folder: Path, known: Known | None = None
) -> list[Path]:
    """Generates `generate.count` pieces into `folder`, each under what is `known` of it; returns the .mid files.

    A piece without a note is drawn again under another row number, and said; HubError when that fails too often.
    """
    formats.check("generate.formats", hparams.generate.formats)
    prompt = prompt_of(tokenizer, hparams.generate)
    asked = replace(hparams.generate, length=room(model, prompt.ids, hparams.generate.length))
    hparams = replace(hparams, generate=asked)
    made_folder(folder)
    began = time.perf_counter()
    made: list[Generated | None] = [None] * asked.count
    attempts = [0] * asked.count
    with tqdm(desc="generate", unit="token", dynamic_ncols=True) as bar:
        for attempt in range(TRIES):
            # Rows that are still missing keep their identity: row i of try t draws from (seed, i + t * count, step).
            for row in [row for row, piece in enumerate(made) if piece is None] if attempt else [None]:
                for position, drawn_piece in draw(model, tokenizer, asked, prompt.ids, row, attempt, bar.update, known):
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
    pieces = [piece for piece in made if piece is not None]
    return write_pieces(tokenizer, hparams, pieces, rows, folder, seconds, prompt)


def write_pieces(
    tokenizer: Tokenizer,
    hparams: HParams,
    pieces: Sequence[Generated],
    rows: Sequence[int],
    folder: Path,
    seconds: float,
    prompt: Prompt = NOTHING,
    ends: Sequence[str] = (),
) -> list[Path]:
    """Writes pieces, drawn by the numbers `rows` in so many seconds, and their page; returns the .mid files.

    How they ended is said in a sentence; `ends` has it for each piece where it is not by its tokens.
    """
    drawn = sum(len(piece.ids) - piece.prompt_length for piece in pieces)
    ends = ends or [end_of(tokenizer, hparams.generate, piece) for piece in pieces]
    files = []
    for number, (row, piece) in enumerate(zip(rows, pieces, strict=True)):
        facts = {"end": ends[number], "prompt_tempos": prompt.tempos, "row": row}
        facts |= {"seconds": seconds, "tokens_per_second": drawn / seconds}
        files.append(_write(tokenizer, hparams, piece, prompt, folder / str(number), facts))
    _page(tokenizer, hparams, pieces, ends, prompt, folder)
    logger.info(ended(ends))
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


def _write(
    tokenizer: Tokenizer, hparams: HParams, piece: Generated, prompt: Prompt, stem: Path, facts: dict[str, Any]
) -> Path:
    asked = hparams.generate
    decoded = prompt.decode(tokenizer, piece.ids)
    title = f"{hparams.name}, seed {asked.seed}, row {facts['row']}"
    midi = formats.write(decoded, stem, "mid", title)
    for name in dict.fromkeys([*asked.formats, *getattr(tokenizer, "formats", ())]):
        if name == "png" and piece.prompt_length:
            given = tokenizer.decode(piece.ids[: piece.prompt_length]).score
            with atomic(stem.with_name(f"{stem.name}.png")) as temporary:
                pianoroll.plot(decoded.score, temporary, title, given=given.end() / given.ticks_per_quarter)
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
    tokenizer: Tokenizer,
    hparams: HParams,
    pieces: Sequence[Generated],
    ends: Sequence[str],
    prompt: Prompt,
    folder: Path,
) -> None:
    """All pieces on one page, to be seen and heard in a browser."""
    sections = []
    for row, piece in enumerate(pieces):
        score = prompt.decode(tokenizer, piece.ids).score
        drawn = counted(len(piece.ids) - piece.prompt_length, "token")
        facts = f"{counted(score.note_num(), 'note')}, {drawn} drawn, {ends[row]}"
        given = 0.0
        if piece.prompt_length:
            played = prompt.decode(tokenizer, piece.ids[: piece.prompt_length]).score.to("second")
            given = max((note.time + note.duration for track in played.tracks for note in track.notes), default=0.0)
        sections.append(roll.section(score, f"piece{row}", f"Piece {row}", facts, given, engraved=row < ENGRAVED))
    write_text(folder / PAGE, page.page(f"{hparams.name}: {counted(len(pieces), 'piece')}", "\n".join(sections)))
