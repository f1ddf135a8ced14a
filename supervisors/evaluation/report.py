"""The verb `evaluate`: everything that can be said about a run's best model, in one file and on one page.

Written are evaluation.json, and in evaluation/ the page README.md, its pictures, a line for each scored piece
(pieces.jsonl), one for each piece that was searched for copies (originality.jsonl), and the music that was made.
"""

import functools
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from core.contracts.dataset import SPLITS, Item, Split
from core.contracts.tokenizer import Tokenizer
from core.files import atomic, write_json, write_text
from core.log import logger
from core.words import agree, counted
from datatools import ngram
from datatools.preparing import survey
from datatools.preparing.store import TokenStore
from datatools.reading import scores
from datatools.writing.page import page as html
from datatools.writing.page import roll
from plugins.metrics.parts.intervals import FEWEST
from supervisors.evaluation import results as evaluation
from supervisors.evaluation.copies import copies
from supervisors.evaluation.kinds import KINDS, token_kinds
from supervisors.evaluation.leaks import leaks
from supervisors.evaluation.makers import Maker
from supervisors.evaluation.metrics import measure
from supervisors.evaluation.obedience import obedience
from supervisors.evaluation.page import page as evaluation_page
from supervisors.evaluation.page import plots as evaluation_plots
from supervisors.evaluation.round_trip import round_trip
from supervisors.evaluation.sets import (
    Output,
    Real,
    Setting,
    Source,
    beats_of,
    decoded,
    prompted,
    tokens_for,
    training_of,
    unprompted,
)
from supervisors.training.token_supervisor import TokenSupervisor

HEARD = 6  # pieces of a kind that can be played on the page


def report(supervisor: TokenSupervisor) -> dict[str, Any]:
    """Scores, generates, measures and writes; returns evaluation.json's content."""
    result = supervisor.evaluate()
    if not supervisor.ranks.first:
        return result
    hparams, store, tokenizer = supervisor.hparams, supervisor.store, supervisor.tokenizer
    asked, folder = hparams.evaluate, supervisor.folder
    tested = evaluation.headline(result)
    if few := too_few(store, tested):
        logger.warning(few)
    order = int(result[tested]["baselines"]["ngram"]["order"])
    logger.info("fitting the n-gram")
    floor = ngram.fit(store, tokenizer)
    for split in evaluation.splits_of(store):
        result[split]["baselines"]["ngram"] |= _shared_out(floor, order, supervisor, split)
    source = reader(supervisor)
    logger.info("reading the %s pieces", evaluation.WORDS[tested])
    lengths = [beats_of(score) if score is not None else 0.0 for score in _all_of(store, source, tested)]
    length = tokens_for([info.tokens for info in store.pieces(tested)], lengths, asked.beats)
    maker = Maker(supervisor.load_best(), floor, order, tokenizer, hparams.generate)
    real = Real(store, tested, tokenizer, source)
    free = unprompted(real, maker, asked, length)
    bound = prompted(real, maker, asked, length)
    result["controls"] = obedience(supervisor.manager, hparams, tokenizer, maker, length)
    training = training_of(real, asked.beats)
    result["metrics"] = measure(supervisor.manager, free, training, "measures")
    result["prompted"] = {"n": len(bound.ids), "beats": asked.prompt_beats}
    if bound.ids:
        result["prompted"]["metrics"] = measure(supervisor.manager, bound, training, "measures of continuations")
    rows = {"generated": free.rows["generated"], "continued": bound.rows["generated"], "ngram": free.rows["ngram"]}
    result["copying"], records = copies(store, tokenizer, rows, asked.beats)
    result["tokenizer"] = round_trip(free.reference, free.rows["tokenizer"])
    lines = evaluation.lines(folder)
    result["leakage"] = leaks(store, lines)
    result["made"] = made(free, bound, asked.beats)
    result["settings"] = {"evaluate": vars(asked), "generate": asdict(hparams.generate)}
    result |= _top(result)
    write_json(folder.evaluation, result)
    write_text(folder.report / "originality.jsonl", "".join(json.dumps(record) + "\n" for record in records))
    _write_music(supervisor, free, bound)
    pictures = evaluation_plots.write(folder.report, result, free, records)
    pictures += evaluation_plots.rolls(folder.report, free.rows["generated"], "generated")
    whole = _with_prompts(tokenizer, bound, asked.beats)
    pictures += evaluation_plots.rolls(folder.report, whole, "continued", asked.prompt_beats)
    text = evaluation_page.page(hparams.name, result, pictures)
    write_text(folder.report / "README.md", text)
    write_text(folder.report / "index.html", browsed(hparams.name, text, folder.report, free, bound))
    return result


def too_few(store: TokenStore, tested: Split) -> str:
    """What to do where so few pieces are tested that measures of music say nothing; empty where they are enough."""
    count, whole = store.count(tested), sum(store.count(split) for split in SPLITS)
    if count >= FEWEST:
        return ""
    needed = -(-FEWEST * whole // max(count, 1))
    kind = f"{evaluation.WORDS[tested]} piece"
    return (
        f"{counted(count, kind)} of {whole:,} {agree(count, 'is', 'are')} too few to compare music with; at least "
        f"{FEWEST} are needed, and by this split about {needed:,} pieces in all give as many: add music"
    )


def browsed(name: str, text: str, folder: Path, free: Setting, bound: Setting) -> str:
    """The page for a browser: the same words and figures, and some of the music to be heard."""
    sections = ["<h2>To be heard</h2>"]
    for kind, setting in (("generated", free), ("continued", bound)):
        for row, score in enumerate(setting.rows["generated"][:HEARD]):
            if score is not None and score.note_num():
                sections.append(roll.section(score, f"{kind}{row}", f"{kind} {row}", engraved=False))
    return html.from_markdown(f"{name}: evaluation", text, folder, "\n".join(sections))


def _with_prompts(tokenizer: Tokenizer, bound: Setting, beats: float) -> Iterator[Output]:
    """Continuations behind their prompts; None where nothing was added."""
    for ids, continued in zip(bound.ids, bound.rows["generated"], strict=True):
        yield decoded(tokenizer, ids, 0, beats) if continued is not None and continued.note_num() else None


def reader(supervisor: TokenSupervisor) -> Source:
    """Reads the source of a piece of the store; None, and a warning, where that is not to be had any more."""
    read = survey.reader(supervisor.manager.make("dataset", supervisor.hparams.dataset))

    @functools.lru_cache(maxsize=2048)
    def source(split: Any, number: int) -> Output:
        info = supervisor.store.pieces(split)[number]
        try:
            return read(Item(info.path, info.index)).score
        except (ValueError, OSError) as error:
            logger.warning("%s cannot be read again and is left out: %s", info.source, error)
            return None

    return source


def _all_of(store: TokenStore, source: Source, split: Split) -> list[Output]:
    told = f"{evaluation.WORDS[split]} pieces"
    numbers = tqdm(range(store.count(split)), desc=told, unit="piece", dynamic_ncols=True)
    return [source(split, number) for number in numbers]


def _shared_out(floor: ngram.Ngram, order: int, supervisor: TokenSupervisor, split: Any) -> dict[str, Any]:
    """The n-gram's nats per note by kind of token."""
    store, eos = supervisor.store, supervisor.tokenizer.eos_id
    count = store.count(split)
    nats = floor.nats(store.ids(split, number) for number in range(count))[order - 1]
    told = np.concatenate([np.append(floor.symbols(store.ids(split, number)), eos) for number in range(count)])
    sums = np.bincount(np.concatenate(token_kinds(supervisor.tokenizer))[told], nats, len(KINDS))
    notes = sum(info.notes for info in store.pieces(split))
    return {"kinds": {kind: cost / max(notes, 1) for kind, cost in zip(KINDS, sums.tolist(), strict=True) if cost}}


def made(free: Setting, bound: Setting, beats: float) -> dict[str, Any]:
    """How the outputs came out: how many, of what length, and how many are no music."""
    return {
        "beats": beats,
        "tokens": free.facts["tokens"],
        "real": free.facts["real"],
        "generated": _outputs(free.rows["generated"]) | {"ended": free.facts["ended"]},
        "ngram": _outputs(free.rows["ngram"]),
        "continued": _outputs(bound.rows["generated"]) | {"ended": bound.facts.get("ended", 0)},
    }


def _outputs(pieces: Sequence[Output]) -> dict[str, Any]:
    return {
        "n": len(pieces),
        "undecodable": sum(score is None for score in pieces),
        "empty": sum(score is not None and not score.note_num() for score in pieces),
        "median_beats": float(np.median([beats_of(score) for score in pieces if score is not None] or [0.0])),
    }


def _top(result: dict[str, Any]) -> dict[str, Any]:
    """The figures that people look for first, under their own names."""
    found: dict[str, Any] = {}
    for name, metric in result["metrics"].items():
        figure = metric["rows"]["generated"]
        if metric["headline"] and "value" in figure:
            real = metric["rows"]["real"].get("value")
            found[name] = {key: figure[key] for key in ("value", "low", "high", "n")}
            found[name] |= {"unit": metric["unit"], "reference": real}
    mine, human = result["copying"]["generated"], result["copying"].get("human", {})
    found["originality"] = {key: mine[key] for key in ("value", "low", "high", "n")} | {
        "unit": "share of the piece outside its longest copied run",
        "reference": human.get("value"),
        "flagged": mine["flagged"]["count"],
        "copies": mine["copies"],
    }
    return found


def _write_music(supervisor: TokenSupervisor, free: Setting, bound: Setting) -> None:
    """The pieces as they were drawn, whole, so that they can be heard; a continuation with its prompt."""
    for name, setting in (("generated", free), ("continued", bound)):
        for row, ids in enumerate(setting.ids):
            try:
                score = scores.piece_from_score(supervisor.tokenizer.decode(ids).score).score
            except Exception as error:
                logger.debug("piece %d of %s is no music: %s", row, name, error)
                continue
            with atomic(supervisor.folder.report / name / f"{row}.mid") as temporary:
                score.dump_midi(temporary)
