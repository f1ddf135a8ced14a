"""Pieces that share steps, come late, pause and go on draw what `generate` draws for each of them alone."""

from typing import Any

import pytest
import torch
from torch import Tensor

from core.contracts.backbone import State
from core.model.conditioning import Known
from core.model.generation import generate
from core.model.interleaving import Company, Line, Wish
from core.model.language_model import LanguageModel
from core.model.sampling import Sampling
from tests.test_generation import BOS, EOS, PAD, PROMPTS, VOCAB, Fading, make_model
from tests.test_streams import Pairs, PairsGrammar

SETTINGS = [
    Sampling(temperature=1.1, top_k=8, top_p=0.95, seed=4, repetition_penalty=1.1),
    Sampling(seed=9),
    Sampling(temperature=0.7, min_p=0.02, seed=5),
]
LENGTH = 100  # beyond the numbers that are made at once


def alone(model: LanguageModel, prompt: Any, wish: Wish, ids: Any = None) -> list[Any]:
    """What `generate` draws behind the prompt."""
    bos, eos, pad = ids or (BOS, EOS, PAD)
    given = {"known": wish.known, "guidance": wish.guidance, "grammar": wish.grammar, "first_row": wish.row}
    common = {"bos_id": bos, "eos_id": eos, "pad_id": pad, "length": LENGTH, "sampling": wish.sampling}
    [piece] = generate(model, [prompt], **common, **given)
    return piece.ids[len(prompt) :]


def started(model: LanguageModel, prompt: Any, wish: Wish, ids: Any = None) -> Line:
    line = Line(model, wish, list(prompt), ids or (BOS, EOS, PAD))
    line.begin(list(prompt), 1000)
    return line


def played(company: Company, found: dict[int, list[Any]], steps: int) -> None:
    """Some steps, whose tokens go to the lists of their lines; a line with LENGTH tokens leaves."""
    for _ in range(steps):
        if not company.lines:
            return
        for drawn in company.step():
            if drawn.token is not None:
                found[id(drawn.line)].append(drawn.token)
        for line in list(company.lines):
            if len(found[id(line)]) == LENGTH:
                company.leave(line)


def joined(model: LanguageModel, lines: list[Line]) -> dict[int, list[Any]]:
    """What lines draw to their ends when each joins two steps after the one before."""
    found: dict[int, list[Any]] = {id(line): [] for line in lines}
    company = Company(model)
    for line in lines:
        company.join(line)
        played(company, found, 2)
    played(company, found, 10 * LENGTH)
    return found


def test_late_pausing_and_unlike_pieces_draw_as_if_alone() -> None:
    model = make_model()
    wishes = [Wish(SETTINGS[i % 3], row=i) for i in range(len(PROMPTS))]
    lines = [started(model, prompt, wish) for prompt, wish in zip(PROMPTS, wishes, strict=True)]
    found: dict[int, list[Any]] = {id(line): [] for line in lines}
    company = Company(model)
    for number, line in enumerate(lines):  # each comes when those before have played a while
        company.join(line)
        played(company, found, 3)
        if number == 2 and company.lines:
            paused = company.lines[0]
            company.leave(paused)
            played(company, found, 5)
            company.join(paused)
    played(company, found, 10 * LENGTH)
    for line, prompt, wish in zip(lines, PROMPTS, wishes, strict=True):
        assert found[id(line)] == alone(model, prompt, wish)
    assert len({len(tokens) for tokens in found.values()}) > 1  # some ended by themselves


def test_what_was_kept_goes_on_as_often_as_wanted() -> None:
    model = make_model()
    line = started(model, [3, 4, 5], Wish(SETTINGS[1]))
    company = Company(model)
    company.join(line)
    found: dict[int, list[Any]] = {id(line): []}
    played(company, found, 2)
    prefix = [3, 4, 5, *found[id(line)]]
    assert len(prefix) == 5, "the piece must not have ended for this test"
    kept = company.kept(line)
    played(company, found, 1)
    for seed, tail in ((1, []), (2, [6, 7])):
        wish = Wish(Sampling(seed=seed))
        fork = Line(model, wish, prefix + tail, (BOS, EOS, PAD))
        fork.resume(kept)
        if tail:
            fork.read(tail)
        company.join(fork)
        found[id(fork)] = []
        played(company, found, LENGTH + 1)
        assert found[id(fork)] == alone(model, prefix + tail, wish)


def test_guided_and_knowing_pieces_share_steps_with_others() -> None:
    torch.manual_seed(3)
    model = LanguageModel(Fading(), 13, controls=[4, 2]).eval()
    with torch.no_grad():
        model.embedding.weight.mul_(60)
        for null in model.conditioning.nulls:
            null.normal_()
    known = Known(torch.randn(1, 1, 6), torch.tensor([[[True, False]]]))
    wishes = [
        Wish(SETTINGS[0], known=known, guidance=2.5),
        Wish(SETTINGS[1]),
        Wish(SETTINGS[2], known=known),
        Wish(SETTINGS[0], row=7, known=known, guidance=0.5),
    ]
    lines = [started(model, [3], wish) for wish in wishes]
    found = joined(model, lines)
    for line, wish in zip(lines, wishes, strict=True):
        assert found[id(line)] == alone(model, [3], wish)
    assert found[id(lines[0])] != alone(model, [3], Wish(SETTINGS[0]))


def test_tokens_of_two_streams_under_a_grammar() -> None:
    torch.manual_seed(1)
    model = LanguageModel(Fading(), Pairs.vocab_sizes).eval()
    ids = (Pairs.bos_id, Pairs.eos_id, Pairs.pad_id)
    grammar = PairsGrammar()
    wishes = [Wish(SETTINGS[i], row=i, grammar=grammar if i else None) for i in range(3)]
    lines = [started(model, [], wish, ids) for wish in wishes]
    found = joined(model, lines)
    for line, wish in zip(lines, wishes, strict=True):
        assert found[id(line)] == alone(model, [], wish, ids)


def test_an_endless_piece_never_ends() -> None:
    model = make_model()
    line = started(model, [], Wish(SETTINGS[1], endless=True))
    company = Company(model)
    company.join(line)
    tokens = [company.step()[0].token for _ in range(LENGTH)]
    assert None not in tokens and EOS not in tokens
    assert len(alone(model, [], Wish(SETTINGS[1]))) < LENGTH  # which ends where it may


class Over:
    """A grammar under which the piece is complete and nothing may follow."""

    def begin(self, batch: int) -> State:
        return {"rows": torch.zeros(batch)}

    def allowed(self, state: State, known: Tensor | None = None) -> Tensor:
        return (torch.arange(VOCAB) == EOS).expand(len(state["rows"]), VOCAB)

    def advance(self, state: State, ids: Tensor) -> State:
        return state


@pytest.mark.parametrize(("grammar", "chosen"), [(None, True), (Over(), False)])
def test_an_end_is_the_models_own_where_more_was_offered(grammar: Any, chosen: bool) -> None:
    company = Company(make_model())
    line = started(company.model, [], Wish(SETTINGS[1], grammar=grammar))
    company.join(line)
    while company.lines:
        [last] = company.step()
        assert line.drawn < LENGTH
    assert last.token is None and last.line is line and last.ended is chosen


def test_a_prompt_that_is_no_music_is_refused() -> None:
    with pytest.raises(ValueError, match="ids of music"):
        started(make_model(), [EOS], Wish(SETTINGS[0]))
