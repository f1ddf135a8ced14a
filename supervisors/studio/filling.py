"""Bars in the middle of a piece, drawn anew to suit both sides; no note of the others changes.

A model of the next token knows only what came before. So several ways are drawn from it, and one is taken by how
likely it makes what follows: with weights p(after | before, way) of ways from p(way | before), a draw tends to
p(way | before, after) as the ways grow many (sampling-importance resampling, Rubin 1988).

Shapes: k streams of a token.
"""

from collections import Counter
from dataclasses import replace
from typing import Any

import torch

from core.contracts.tokenizer import Ids
from core.errors import HubError
from core.model.interleaving import Company, Kept, Line, Wish
from core.seeds import generator
from core.words import counted
from datatools.bar_lines import bar_lines
from supervisors.studio.asking import FillRequest
from supervisors.studio.engine import Engine
from supervisors.studio.players import Player

AFTER = 256  # tokens behind the bars that the ways are judged by
MOST = 2048  # tokens of a way


async def filled(engine: Engine, player: Player, asked: FillRequest, tokens: Ids) -> dict[str, Any]:
    """The piece with bars drawn anew: its `tokens`, how many `ways` fitted, and `nats`, what the other side costs.

    The engine plays its streams between the steps. HubError where bars are not known, or no way fits.
    """
    starts = _bars(player, tokens)
    last = asked.first + asked.count
    if last > len(starts):
        known = f"bars 0 to {len(starts) - 1}" if starts else "no bar yet"
        raise HubError(f"bars {asked.first} to {last - 1} are asked for; the piece has {known}")
    before, after = tokens[: starts[asked.first]], tokens[starts[last] :] if last < len(starts) else []
    marks = [tokens[start] for start in starts]
    if marks.count(marks[0]) == len(marks):  # each bar begins with a token for it: no note more in the bar before
        before = [*before, marks[0]]
    wish = replace(player.wish(asked, before), grammar=player.grammar_of(last))
    if wish.grammar is None:
        raise HubError(f"the tokens of {player.name} have no grammar that counts bars; they cannot be filled")
    outside = _outside(player, tokens, asked)
    fitting = []
    for line, way in await _ways(engine, player, wish, before, asked.ways):
        whole = before + way + after
        if len(_bars(player, whole)) == len(starts) and _outside(player, whole, asked) == outside:
            fitting.append((await engine.run(lambda line=line: _cost(player, line, after)), whole))  # type: ignore[misc]
    if not fitting:
        raise HubError(f"none of {counted(asked.ways, 'way')} leaves the other bars as they are; mark other bars")
    nats = torch.tensor([cost for cost, _ in fitting], dtype=torch.float64)
    shares = (-nats).softmax(0).cumsum(0)
    point = generator("fill", str(asked.seed)).random()
    taken = min(int((shares < point).sum()), len(fitting) - 1)
    return {"tokens": fitting[taken][1], "ways": len(fitting), "nats": fitting[taken][0], "seed": asked.seed}


def _bars(player: Player, tokens: Ids) -> list[int]:
    starts = getattr(player.tokenizer, "bar_starts", None)
    if starts is None:
        raise HubError(f"the tokens of {player.name} do not know their bars; they cannot be filled")
    return list(starts(tokens))


async def _ways(engine: Engine, player: Player, wish: Wish, before: Ids, count: int) -> list[tuple[Line, Ids]]:
    """Ways that came to their end, each with the line that stands there."""
    company = Company(player.model)
    lines = [player.line(replace(wish, row=row), before) for row in range(count)]
    await engine.read(lines[0], before, player.capacity(len(before), MOST + AFTER))
    for line in lines:
        line.resume(Kept(lines[0].hidden, lines[0].state))
        company.join(line)
    found: dict[int, tuple[Line, Ids]] = {id(line): (line, []) for line in lines}
    ended = set()
    for _ in range(MOST):
        if not company.lines:
            break
        for drawn in await engine.run(company.step):
            if drawn.token is None:
                ended.add(id(drawn.line))
            else:
                found[id(drawn.line)][1].append(drawn.token)
    return [way for key, way in found.items() if key in ended]


@torch.inference_mode()
def _cost(player: Player, line: Line, after: Ids) -> float:
    """Nats of what follows (its first token aside, which only says that a bar begins) where the line stands."""
    if len(after) < 2:
        return 0.0
    ids = torch.tensor([after[:AFTER]], device=line.device)  # (1 l) or (1 l k)
    state = {key: value[:1] for key, value in line.state.items()}
    known = line.known
    one = known and type(known)(known.values[:1], known.given[:1])
    nats, _ = player.model.loss(ids[:, :-1], ids[:, 1:], state=state, known=one)
    return float(nats.double().sum())


def _outside(player: Player, tokens: Ids, asked: FillRequest) -> Counter[tuple[Any, ...]]:
    """The notes that begin outside the marked bars, those behind them counted from where they end."""
    with player.lock:
        score = player.tokenizer.decode(tokens).score
    tpq = score.ticks_per_quarter
    lines = [round(line * tpq) for line in bar_lines(score, score.end() / tpq)]
    begin = lines[asked.first] if asked.first < len(lines) else score.end()
    end = lines[asked.first + asked.count] if asked.first + asked.count < len(lines) else None
    found: Counter[tuple[Any, ...]] = Counter()
    for track in score.tracks:
        for note in track.notes:
            row = (track.program, track.is_drum, note.pitch, note.velocity, note.duration)
            if note.time < begin:
                found["before", note.time, *row] += 1
            elif end is not None and note.time >= end:
                found["after", note.time - end, *row] += 1
    return found
