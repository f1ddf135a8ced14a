"""A piece as the studio shows, scores and writes it: from its tokens to notes and bars, nats, and files."""

import tempfile
from pathlib import Path
from typing import Any

import torch

from core.contracts.backbone import State
from core.contracts.tokenizer import Ids
from core.errors import HubError
from core.files import atomic_folder, explained, write_json
from core.locks import locked
from core.model.generation import alone
from core.model.language_model import IGNORED
from datatools.bar_lines import bar_lines
from datatools.writing import formats
from supervisors.generating.places import beside
from supervisors.studio.engine import CHUNK, Engine
from supervisors.studio.listener import Clock, Listener
from supervisors.studio.players import Player

LONGEST_SOUND = 600.0  # seconds that are rendered as sound
# Media types of the formats that are no plain text.
MEDIA = {
    "mid": "audio/midi",
    "wav": "audio/wav",
    "png": "image/png",
    "svg": "image/svg+xml",
    "mirex": "application/json",
}


def shown(player: Player, tokens: Ids) -> dict[str, Any]:
    """Notes, and bars as [beat, seconds, token or null] in order; ValueError where the tokens are no music."""
    listener = Listener(player.tokenizer)
    for token in tokens:
        listener.add(token)
    with player.lock:
        heard = listener.heard()
        score = player.tokenizer.decode(tokens).score
        starts = list(player.tokenizer.bar_starts(tokens)) if hasattr(player.tokenizer, "bar_starts") else []
    clock, beats = Clock(score), bar_lines(score, heard.beats)
    seconds = [round(clock.seconds(round(beat * clock.ticks)), 4) for beat in beats]
    places = [starts[i] if i < len(starts) else None for i in range(len(beats))]
    bars = [list(bar) for bar in zip(beats, seconds, places, strict=True)]
    return {"notes": heard.notes, "beats": heard.beats, "seconds": heard.seconds, "bars": bars}


async def scored(engine: Engine, player: Player, tokens: Ids) -> dict[str, Any]:
    """What the piece costs the model: nats of each token and of the end, and their sum."""
    tokenizer, model = player.tokenizer, player.model
    bos, eos = (alone(id, model.streams) for id in (tokenizer.bos_id, tokenizer.eos_id))
    device = next(model.parameters()).device
    ids, targets = (torch.tensor([row], device=device) for row in ([bos, *tokens], [*tokens, eos]))
    if model.streams > 1:
        targets[0, -1, 1:] = IGNORED
    state: State | None = model.init_state(1, len(tokens) + 1)
    each: list[float] = []

    @torch.inference_mode()
    def read(part: slice) -> None:
        nonlocal state
        nats, state = model.loss(ids[:, part], targets[:, part], state=state)
        each.extend(nats.double().reshape(nats.shape[1], -1).sum(-1).tolist())

    for start in range(0, len(tokens) + 1, CHUNK):
        await engine.run(lambda start=start: read(slice(start, start + CHUNK)))  # type: ignore[misc]
    with player.lock:
        notes = tokenizer.decode(tokens).score.note_num()
    total = sum(each)
    return {"nats": total, "nats_per_note": total / notes if notes else None, "notes": notes, "tokens": each}


def exported(player: Player, tokens: Ids, name: str, title: str) -> tuple[bytes, str, str]:
    """Content, media type and ending of a file in the format; HubError where the format cannot hold the piece."""
    formats.check("format", [name])
    with player.lock:
        piece = player.tokenizer.decode(tokens)
    seconds = piece.score.to("second").end()
    if name == "wav" and seconds > LONGEST_SOUND:
        raise HubError(f"the piece lasts {seconds:.0f} s; expected at most {LONGEST_SOUND:.0f} to be made sound")
    with tempfile.TemporaryDirectory() as folder:
        try:
            path = formats.write(piece, Path(folder) / "piece", name, title)
        except HubError:
            raise
        except (ValueError, RuntimeError) as error:
            raise HubError(f"the piece cannot be written as {name}: {error}") from error
        return path.read_bytes(), MEDIA.get(name, "text/plain; charset=utf-8"), path.name.removeprefix("piece")


def kept(player: Player, tokens: Ids, facts: dict[str, Any]) -> list[Path]:
    """Writes the piece among the samples of its run: .mid, and .json with its tokens and how it came about; or neither.

    Each piece has a folder of its own, however many are kept at once, in this studio and in others.
    """
    with player.lock:
        piece = player.tokenizer.decode(tokens)
    facts = {"tokens": tokens, "notes": piece.score.note_num(), **facts}
    hparams = player.supervisor.hparams
    samples = beside(player.folder, hparams, "kept").parent
    with explained(samples), locked(samples / ".keeping", "another piece is being kept"):
        final = beside(player.folder, hparams, "kept")
        with atomic_folder(final) as folder:
            formats.write(piece, folder / "0", "mid", f"{player.name}, kept in the studio")
            write_json(folder / "0.json", facts)
    return [final / "0.mid", final / "0.json"]
