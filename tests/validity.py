"""How often random tokens are music, with and without the grammar.

`python -m tests.validity NAME [bpe=0] [n=10000] [free=10000] [first=0] [music21=10000] [music21_free=2000]
[OPTION=VALUE ...]`: sequences with the grammar and without it, from which number on; how many of the tunes
music21 reads; options of the tokenizer. Draws from random logits, the worst case, by the hub's own sampler, of several
streams id by id; prints a Markdown row for each way and, with the grammar, what failed. It is a benchmark and no test:
it takes minutes. Failures: `undecodable` (decode raises), `empty` (no note), `lost` (the tokens name notes that decode
leaves out; not counted where a note is no token: ABC, grids), `changed` (the music is another after encoding and
decoding again), `dead` (the grammar let it come to where something must follow and nothing may; few pitches show that
soonest: `pitch_range=[60,64]`), `refused` (ABC that music21 or abc2midi cannot read, or a bar of which, the
first and the last excepted, is too short or too long to abc2midi).
"""

import gc
import os
import re
import sys
import tempfile
import warnings
from typing import Any

import symusic
import torch
import yaml
from torch import Tensor

from core.contracts.grammar import Grammar, State
from core.contracts.tokenizer import Ids, Tokenizer, token_names, vocab_sizes
from core.model.generation import grammar_after
from core.model.sampling import Sampling, draw
from core.seeds import derive
from plugins.manager import load_manager

LENGTH = 128  # tokens at most
BATCH = 250


def built(name: str, bpe: int, **options: Any) -> Any:
    """A tokenizer; its byte pairs, if any, are learnt from every fourth chorale."""
    entry = load_manager().tokenizers[name]
    assert entry.build is not None and entry.hparams is not None
    tokenizer = entry.build(entry.hparams(**options, **({"bpe": bpe} if bpe else {})))
    if bpe:
        from datatools.reading import scores
        from hparams.datasets import BachChoralesHParams
        from plugins.datasets.bach_chorales import build

        items = sorted(build(BachChoralesHParams()).items())
        tokenizer.train([scores.read(item.path) for item in items[::4]])
    return tokenizer


def sequences(tokenizer: Tokenizer, first: int, count: int, masked: bool) -> list[Ids]:
    """Sequences `first` to `first + count` of tokens without eos, each from logits N(0, 1) drawn anew for each id."""
    grammar = tokenizer.grammar(length=LENGTH) if masked else None  # type: ignore[attr-defined]
    assert first % BATCH == 0, f"first is {first}; expected a multiple of {BATCH}"
    result: list[Ids] = []
    for start in range(first, first + count, BATCH):
        result += _batch(tokenizer, grammar, range(start, min(start + BATCH, first + count)))
    return result


def _batch(tokenizer: Tokenizer, grammar: Grammar | None, numbers: range) -> list[Ids]:
    random = torch.Generator().manual_seed(derive("validity", numbers.start))
    rows = torch.arange(numbers.start, numbers.stop)
    made: list[Ids] = [[] for _ in rows]
    going = torch.arange(len(rows))
    state = grammar.begin(len(rows)) if grammar is not None else {}
    for step in range(LENGTH + 1):
        ids = _token(tokenizer, grammar, state, rows[going], step, random)
        goes = (ids[:, 0] != tokenizer.eos_id) & torch.tensor(step < LENGTH)
        if tokenizer.streams == 1:
            ids = ids[:, 0]
        if grammar is not None:
            state = {key: value[goes] for key, value in grammar.advance(state, ids).items()}
        going, ids = going[goes], ids[goes]
        for row, id in zip(going.tolist(), ids.tolist(), strict=True):
            made[row].append(id)
        if not len(going):
            break
    return made


def _token(
    tokenizer: Tokenizer, grammar: Grammar | None, state: State, rows: Tensor, step: int, random: torch.Generator
) -> Tensor:
    """The ids (b k) of a token of each row; beside eos anything may stand."""
    ids = torch.zeros(len(rows), 0, dtype=torch.long)
    for stream, size in enumerate(vocab_sizes(tokenizer)):
        if grammar is None:
            allowed = torch.ones(len(rows), size, dtype=torch.bool)
        else:
            allowed = grammar.allowed(state, ids) if stream else grammar.allowed(state)
        if not stream and grammar is None:
            allowed[:, [tokenizer.pad_id, tokenizer.bos_id]] = False
            allowed[:, tokenizer.eos_id] = step > 0
        if stream:
            allowed = allowed | (ids[:, :1] == tokenizer.eos_id)
        logits = torch.randn(len(rows), size, generator=random)
        id = draw(logits, Sampling(), rows, step * tokenizer.streams + stream, allowed)
        ids = torch.cat([ids, id[:, None]], dim=1)
    return ids


NOTES = ("Pitch", "NoteOn", "DrumOn", "note_on")  # what a token's name begins with that tells a note


def told(tokenizer: Any, ids: Ids) -> int | None:
    """How many notes the tokens name; None where a note is no token."""
    if hasattr(tokenizer, "base_ids"):
        names = [[tokenizer.base_tokens[id]] for id in tokenizer.base_ids(ids)]
    elif tokenizer.streams > 1 or hasattr(tokenizer, "events"):
        names = [token_names(tokenizer, token) for token in ids]
    else:
        return None
    return sum(any(name.startswith(NOTES) for name in token) for token in names)


WHOLE = ("Duration", "NoteOff", "DrumOff")  # what a token's name begins with behind which nothing need follow


def dead(tokenizer: Any, ids: Ids) -> bool:
    """Whether tokens drawn until their grammar's end stop where something must follow.

    The last token says so where names do; of others, that even a grammar without a length leaves nothing but the end.
    A bar line of ABC is an end: behind a last bar that is short, as a pickup's, nothing follows either.
    """
    if ids and token_names(tokenizer, ids[-1])[-1] == "|":
        return False
    names = [[tokenizer.base_tokens[id]] for id in tokenizer.base_ids(ids)] if hasattr(tokenizer, "base_ids") else []
    if tokenizer.streams > 1:
        names = [token_names(tokenizer, token) for token in ids]
    parts: list[list[str]] = [[]]  # the whole piece, or each instrument that is told by itself
    for token in names:
        if token == ["Track_End"]:
            parts.append([])
        else:
            parts[-1] = token
    parts = [part for part in parts if part]
    pressed = any(name.startswith(("NoteOn", "DrumOn")) for token in names for name in token)
    whole = (*WHOLE, "TimeShift") if pressed else WHOLE  # how long a note lasts
    if any(name.startswith(WHOLE) for token in names for name in token) or pressed:
        return not all(any(name.startswith(whole) for name in part) for part in parts)
    grammar = tokenizer.grammar()
    allowed = grammar.allowed(grammar_after(grammar, [ids]))[0]
    return bool(allowed[tokenizer.eos_id] and allowed.sum() == 1)


def notes(piece: Any) -> list[tuple[int, int, int]]:
    """(time, pitch, duration) of all notes, sorted."""
    return sorted((note.time, note.pitch, note.duration) for track in piece.score.tracks for note in track.notes)


def unreadable(text: str) -> bool:
    """Whether music21 cannot read an ABC tune, or finds no note in it."""
    from music21 import converter

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return not converter.parseData(text, format="abc").recurse().notes
    except Exception:  # whatever it raises is a complaint
        return True


def complaint(text: str) -> bool:
    """Whether abc2midi cannot read an ABC tune or finds an inner bar of a voice too short or too long.

    Chord symbols, of which it does not know all, aside.
    """
    text = re.sub(r'^(w:.*)|"[^"\n]*"', r"\1", text, flags=re.MULTILINE)  # of words a quote may be a part
    with tempfile.TemporaryFile() as said:
        kept = os.dup(1), os.dup(2)
        try:
            os.dup2(said.fileno(), 1)
            os.dup2(said.fileno(), 2)
            heard = sum(len(track.notes) for track in symusic.Score.from_abc(text).tracks)
        finally:
            for number, copy in enumerate(kept, 1):
                os.dup2(copy, number)
                os.close(copy)
        said.seek(0)
        words = said.read().decode("utf-8", "replace")
    lines = text.splitlines()
    inner = False
    for line, column in re.findall(r"line-char (\d+)-(\d+) : .* time units", words):  # where the bar ends
        before = "\n".join([*lines[: int(line) - 1], lines[int(line) - 1][: int(column) + 1]])
        voice = before[before.rfind("\nV:") + 1 :]
        after = text[len(before) :].partition("\nV:")[0]
        inner |= voice.count("|") > 1 and "|" in after
    return not heard or "Error" in words or inner


def row(tokenizer: Tokenizer, name: str, drawn: list[Ids], music21: int, masked: bool) -> str:
    """One line of the table; music21 reads the first so many ABC tunes. `masked`: drawn under the grammar; prints what
    failed."""
    failed = dict.fromkeys(("undecodable", "empty", "lost", "changed", "dead", "refused"), 0)
    heard = 0
    for number, ids in enumerate(drawn):
        if masked and dead(tokenizer, ids):
            failed["dead"] += 1
            print(f"dead: {number} {ids}", flush=True)
        try:
            piece = tokenizer.decode(ids)
            music = notes(piece)
        except Exception:  # the contract is that there is none
            failed["undecodable"] += 1
            continue
        heard += len(music)
        failed["empty"] += not music
        if not music:
            continue
        lost = told(tokenizer, ids) not in (None, len(music))
        failed["lost"] += lost
        if "abc" in getattr(tokenizer, "formats", ()):
            refused = complaint(piece.abc) or (number < music21 and unreadable(piece.abc))
            failed["refused"] += refused
            if refused and masked:
                print(f"refused: {piece.abc!r}", flush=True)
        if number % 500 == 499:  # music21's objects hold one another; looking for them all the time doubles its time
            gc.collect()
        changed = notes(tokenizer.decode(tokenizer.encode(piece))) != music
        failed["changed"] += changed
        if masked and (changed or lost):
            print(f"{'changed' if changed else 'lost'}: {number} {ids}", flush=True)
    mean = sum(map(len, drawn)) / len(drawn)
    cells = [
        name,
        f"{len(drawn):,}",
        *(f"{value:,}" for value in failed.values()),
        f"{mean:.0f}",
        f"{heard / len(drawn):.1f}",
    ]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Prints the two rows of one tokenizer."""
    name, *words = sys.argv[1:]
    settings = {"bpe": 0, "n": 10_000, "free": 10_000, "first": 0, "music21": 10_000, "music21_free": 2_000}
    told = dict(word.split("=", 1) for word in words)
    options = {key: yaml.safe_load(value) for key, value in told.items() if key not in settings}
    settings |= {key: int(value) for key, value in told.items() if key in settings}
    tokenizer = built(name, settings["bpe"], **options)
    label = ", ".join([name, *([f"BPE {settings['bpe']}"] if settings["bpe"] else []), *options])
    gc.freeze()
    gc.disable()
    for way, count, music21 in (("grammar", "n", "music21"), ("free", "free", "music21_free")):
        if settings[count]:
            masked = way == "grammar"
            drawn = sequences(tokenizer, settings["first"], settings[count], masked)
            print(row(tokenizer, f"{label}, {way}", drawn, settings[music21], masked), flush=True)


if __name__ == "__main__":
    main()
