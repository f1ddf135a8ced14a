"""Generation against a run that reads the whole prefix anew for each token, one piece at a time."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from core.contracts.backbone import State
from core.model.generation import Generated, generate
from core.model.language_model import LanguageModel
from core.model.sampling import Sampling, draw

PAD, BOS, EOS, VOCAB = 0, 1, 2, 13
SAMPLING = Sampling(temperature=1.1, top_k=8, top_p=0.95, seed=4, repetition_penalty=1.1)
PROMPTS = [[3, 4, 5], [], [6], [7, 8, 9, 10, 11], [12, 3], [5, 5, 5]]


class Fading(nn.Module):
    """A small recurrent backbone that checks its budget of positions."""

    def __init__(self, packs: bool = True, fade: float = 0.8) -> None:
        super().__init__()
        self.dim, self.packs, self.fade = 16, packs, fade
        self.dropout = nn.Dropout(0.5)
        self.mix = nn.Linear(16, 16)

    def forward(
        self, x: Tensor, state: State | None = None, starts: Tensor | None = None
    ) -> tuple[Tensor, State | None]:
        assert self.packs or starts is None, "starts given to a backbone that cannot pack"
        h = x.new_zeros(len(x), self.dim) if state is None else state["h"]
        hidden = []
        for t in range(x.shape[1]):
            if starts is not None:
                h = h.masked_fill(starts[:, t, None], 0)
            h = self.fade * h + x[:, t]
            hidden.append(h)
        if state is not None:
            left = state["left"] - x.shape[1]
            if (left < 0).any():
                raise ValueError("beyond max_length")
            state = {"h": h, "left": left}
        return self.mix(self.dropout(torch.tanh(torch.stack(hidden, 1)))), state

    def init_state(self, batch: int, max_length: int) -> State:
        return {"h": torch.zeros(batch, self.dim), "left": torch.full((batch,), max_length)}


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return make_model()


def make_model(packs: bool = True) -> LanguageModel:
    torch.manual_seed(2)
    model = LanguageModel(Fading(packs), VOCAB)
    with torch.no_grad():
        model.embedding.weight.mul_(60)
    return model.eval()


def run(
    model: LanguageModel, prompts: list[list[int]], length: int = 14, first_row: int = 0, max_batch: int = 16
) -> list[Generated]:
    return generate(
        model,
        prompts,
        bos_id=BOS,
        eos_id=EOS,
        pad_id=PAD,
        length=length,
        sampling=SAMPLING,
        first_row=first_row,
        max_batch=max_batch,
    )


def literal(model: LanguageModel, prompt: list[int], row: int, length: int) -> Generated:
    """One piece, the whole prefix read anew for each token and no state kept."""
    ids = list(prompt)
    for step in range(length):
        allowed = torch.ones(1, VOCAB, dtype=torch.bool)
        allowed[0, [PAD, BOS, *([EOS] if step == 0 else [])]] = False
        seen = torch.zeros(1, VOCAB, dtype=torch.bool)
        seen[0, ids] = True
        with torch.no_grad():
            logits, _ = model(torch.tensor([[BOS, *ids]]))
        id = int(draw(logits[:, -1], SAMPLING, torch.tensor([row]), step, allowed, seen))
        if id == EOS:
            return Generated(ids, len(prompt), True)
        ids.append(id)
    return Generated(ids, len(prompt), False)


def test_cached_generation_equals_reading_anew(model: LanguageModel) -> None:
    expected = [literal(model, prompt, row, 14) for row, prompt in enumerate(PROMPTS)]
    assert run(model, PROMPTS) == expected
    assert {piece.ended for piece in expected} == {True, False}, "the test wants rows that end and rows that go on"


def test_ragged_prompts_equal_one_at_a_time(model: LanguageModel) -> None:
    together = run(model, PROMPTS)
    assert together == [run(model, [prompt], first_row=row)[0] for row, prompt in enumerate(PROMPTS)]
    assert together == run(make_model(packs=False), PROMPTS)


def test_any_slice_gives_the_same_rows(model: LanguageModel) -> None:
    prompts = [PROMPTS[i % 6] for i in range(11)]
    whole = run(model, prompts)
    for first, last in ((3, 9), (10, 11)):
        assert run(model, prompts[first:last], first_row=first) == whole[first:last]
    for max_batch in (1, 4):
        assert run(model, prompts, max_batch=max_batch) == whole


def test_order_and_prompts_are_kept(model: LanguageModel) -> None:
    pieces = run(model, PROMPTS)
    assert [piece.ids[: piece.prompt_length] for piece in pieces] == PROMPTS
    assert run(model, []) == []


def test_length_is_a_cap_and_nothing_is_empty(model: LanguageModel) -> None:
    for length in (1, 3, 30):
        for piece in run(model, [[]] * 20, length):
            assert 1 <= len(piece.ids) <= length
            assert piece.ended or len(piece.ids) == length
            assert not {PAD, BOS, EOS} & set(piece.ids)
    assert any(len(piece.ids) < 30 for piece in run(model, [[]] * 20, 30))


def test_eos_is_not_drawn_first_even_where_it_is_likeliest() -> None:
    model = make_model()
    with torch.no_grad():
        model.head.weight = nn.Parameter(torch.zeros(16, 16))
        model.backbone.mix.weight.zero_()
        model.backbone.mix.bias.copy_(torch.ones(16))
        model.head.weight[EOS] = 5.0
    assert [(len(piece.ids), piece.ended) for piece in run(model, [[]] * 5)] == [(1, True)] * 5


def test_the_first_token_reaches_the_tenth() -> None:
    """A slow fade, greedy: pieces that differ in the prompt's first token only go apart later."""
    torch.manual_seed(0)
    model = LanguageModel(Fading(fade=0.98), VOCAB)
    with torch.no_grad():
        model.embedding.weight.mul_(40)
    greedy = Sampling(temperature=0)
    tails = set()
    for first in range(3, 13):
        prompt = [first, 3, 4, 5, 6, 7, 8, 9, 10]
        piece = generate(model, [prompt], bos_id=BOS, eos_id=EOS, pad_id=PAD, length=1, sampling=greedy)[0]
        tails.add(piece.ids[9])
    assert len(tails) > 1


def test_model_is_left_as_it_was(model: LanguageModel) -> None:
    model = make_model()
    model.train()
    model.backbone.mix.eval()
    before = torch.random.get_rng_state()
    first = run(model, PROMPTS)
    assert first == run(model, PROMPTS), "dropout is off"
    assert model.training and model.backbone.dropout.training and not model.backbone.mix.training
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(parameter.grad is None and not parameter.is_inference() for parameter in model.parameters())
    with pytest.raises(RuntimeError):
        generate(
            model, [[3]], bos_id=BOS, eos_id=EOS, pad_id=PAD, length=3, sampling=SAMPLING, progress=lambda n: broken()
        )
    assert model.training


def broken() -> None:
    raise RuntimeError("a progress bar that fails")


def test_stop_ends_a_piece_and_is_asked_by_row(model: LanguageModel) -> None:
    asked: list[tuple[int, int]] = []

    def stop(row: int, ids: list[int]) -> bool:
        asked.append((row, len(ids)))
        return row == 21 and len(ids) == 4

    plain = run(model, PROMPTS[:3], 9, first_row=20)
    drawn: list[int] = []
    pieces = generate(
        model,
        PROMPTS[:3],
        bos_id=BOS,
        eos_id=EOS,
        pad_id=PAD,
        length=9,
        sampling=SAMPLING,
        first_row=20,
        stop=stop,
        progress=drawn.append,
    )
    assert pieces[0] == plain[0] and pieces[2] == plain[2]
    assert pieces[1] == Generated(plain[1].ids[:4], 0, ended=False)  # cut off: it did not choose to end
    assert [n for row, n in asked if row == 21] == [1, 2, 3, 4]
    ends = sum(piece.ended for piece in pieces)
    assert sum(drawn) == sum(len(piece.ids) - piece.prompt_length for piece in pieces) + ends


def test_prompts_of_foreign_ids_are_refused(model: LanguageModel) -> None:
    for bad in (VOCAB, -1, BOS, EOS, PAD):
        with pytest.raises(ValueError, match="prompt 1 holds id"):
            run(model, [[3], [4, bad]])


class Counting:
    """A grammar: ids rise by at most 3 from the last (3 to 12, then anew from 3); eos after an even count only."""

    def begin(self, batch: int) -> State:
        return {"last": torch.full((batch,), 12), "count": torch.zeros(batch, dtype=torch.long)}

    def allowed(self, state: State) -> Tensor:
        ids = torch.arange(VOCAB)
        last = state["last"][:, None]
        mask = (ids > last) & (ids <= last + 3) | ((last == 12) & (ids >= 3) & (ids < 6))
        mask[:, EOS] = (state["count"] > 0) & (state["count"] % 2 == 0)
        return mask

    def advance(self, state: State, ids: Tensor) -> State:
        assert ids.shape == state["last"].shape
        return {"last": ids, "count": state["count"] + 1}


def walk(ids: list[int]) -> Iterator[bool]:
    last = 12
    for id in ids:
        yield 3 <= id < 6 if last == 12 else last < id <= last + 3
        last = id


def test_grammar_masks_every_draw_and_reads_the_prompts(model: LanguageModel) -> None:
    prompts = [[3, 4, 7], [], [5, 6], [3]] * 6
    pieces = []
    for top_k in (0, 1):  # the mask comes before the choice of the likeliest, or nothing would be left of one
        some = generate(
            model,
            prompts,
            bos_id=BOS,
            eos_id=EOS,
            pad_id=PAD,
            length=5,
            sampling=Sampling(top_k=top_k),
            grammar=Counting(),
            max_batch=10,
        )
        for prompt, piece in zip(prompts, some, strict=True):
            assert piece.ids[: len(prompt)] == prompt and all(walk(piece.ids))
            assert not piece.ended or len(piece.ids) % 2 == 0
        pieces.extend(some)
    assert any(piece.ended for piece in pieces) and any(not piece.ended for piece in pieces)


def test_what_a_grammar_must_end_did_not_end_by_itself(model: LanguageModel) -> None:
    class Short(Counting):
        """Nothing but eos after four tokens."""

        def allowed(self, state: State) -> Tensor:
            mask = super().allowed(state)
            over = state["count"] >= 4
            mask[over] = torch.arange(VOCAB) == EOS
            return mask

    pieces = generate(
        model, [[]] * 40, bos_id=BOS, eos_id=EOS, pad_id=PAD, length=9, sampling=SAMPLING, grammar=Short()
    )
    assert {(len(piece.ids), piece.ended) for piece in pieces} == {(2, True), (4, False)}


def test_a_grammar_may_end_a_prompt_at_once(model: LanguageModel) -> None:
    class Over(Counting):
        def allowed(self, state: State) -> Tensor:
            return (torch.arange(VOCAB) == EOS).repeat(len(state["last"]), 1)

    piece = generate(model, [[3, 4]], bos_id=BOS, eos_id=EOS, pad_id=PAD, length=5, sampling=SAMPLING, grammar=Over())[
        0
    ]
    assert piece == Generated([3, 4], 2, ended=False)  # nothing else was left


def test_a_grammar_that_allows_nothing_is_an_error(model: LanguageModel) -> None:
    class Nothing(Counting):
        def allowed(self, state: State) -> Tensor:
            return torch.zeros(len(state["last"]), VOCAB, dtype=torch.bool)

    with pytest.raises(ValueError, match="no token that it may draw"):
        generate(model, [[]], bos_id=BOS, eos_id=EOS, pad_id=PAD, length=5, sampling=SAMPLING, grammar=Nothing())
