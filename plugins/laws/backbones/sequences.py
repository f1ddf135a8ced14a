"""Laws of sequences: whole, in chunks, step by step, alone or in a batch, a backbone is one and the same function.

Shapes: b batch, l length, d model width.
"""

from collections.abc import Iterator

import torch

from core.contracts.backbone import select
from plugins.laws.backbones.measures import equal, law
from plugins.laws.backbones.subject import Size, Subject, apply
from plugins.laws.law import Finding, LawBroken, Skipped, verdict

LONG_PARTS = [250, 290]


def chunkings(length: int) -> list[list[int]]:
    """Ways to cut a row: at once, one by one, and unevenly."""
    ways = [[length], [1] * length, [length - 1, 1], [1, length - 1], [length // 2, length - length // 2]]
    if length > 11:
        ways.append([7, 1, 3, length - 11])
    if length > 70:
        ways.append([63, 1, 2, length - 66])
    return [list(way) for way in dict.fromkeys(tuple(size for size in way if size) for way in ways)]


@law("declares dim and packs")
def declares(subject: Subject, size: Size) -> Iterator[Finding]:
    model = subject.model
    yield verdict(f"dim is {getattr(model, 'dim', None)!r}; expected an int", isinstance(model.dim, int))
    yield verdict(f"packs is {getattr(model, 'packs', None)!r}; expected a bool", isinstance(model.packs, bool))
    std = getattr(model, "embedding_std", 1.0)
    yield verdict(f"embedding_std is {std!r}; expected a number above 0", isinstance(std, int | float) and std > 0)


@law("returns a pair")
def returns_pair(subject: Subject, size: Size) -> Iterator[Finding]:
    subject.call(subject.x(*size))
    state = subject.call(subject.x(*size), subject.state(*size))[1]
    yield verdict(f"with a state given, {type(state).__name__} came back; expected a dict", isinstance(state, dict))


@law("shape kept")
def shape_kept(subject: Subject, size: Size) -> Iterator[Finding]:
    x = subject.x(*size)
    shape = tuple(subject.hidden(x).shape)
    yield verdict(f"x is {tuple(x.shape)}, hidden is {shape}; expected the same", shape == tuple(x.shape))


@law("dtype kept")
def dtype_kept(subject: Subject, size: Size) -> Iterator[Finding]:
    x = subject.x(*size)
    for how, hidden in (("alone", subject.hidden(x)), ("with a state", subject.call(x, subject.state(*size))[0])):
        yield verdict(f"{how}: x is {x.dtype}, hidden is {hidden.dtype}; expected the same", hidden.dtype == x.dtype)


@law("no state unless asked")
def no_state_unless_asked(subject: Subject, size: Size) -> Iterator[Finding]:
    state = subject.call(subject.x(*size))[1]
    yield verdict(f"without a state, {type(state).__name__} came back; expected None", state is None)


@law("input left alone", within=0.0)
def input_left_alone(subject: Subject, size: Size) -> Iterator[Finding]:
    x = subject.x(*size)
    given = x.clone()
    subject.call(given)
    yield equal("x was changed in place", given, x)
    if subject.packs:
        starts = torch.zeros(size, dtype=torch.bool, device=x.device)
        starts[:, size.length // 2] = size.length > 1
        for state in (None, subject.state(*size)):
            asked = starts.clone()
            subject.call(given, state, asked)
            yield verdict("starts were changed in place", torch.equal(asked, starts))


@law("deterministic in evaluation", within=0.0)
def deterministic(subject: Subject, size: Size) -> Iterator[Finding]:
    x = subject.x(*size)
    yield equal("two calls differ (dropout left on?)", subject.hidden(x), subject.hidden(x))
    first = subject.call(x, subject.state(*size))[0]
    yield equal("two calls with a fresh state differ", subject.call(x, subject.state(*size))[0], first)


@law("training without dropout equals evaluation")
def train_equals_eval(subject: Subject, size: Size) -> Iterator[Finding]:
    x = subject.x(*size)
    yield equal("train() differs from eval()", apply(subject.plain, x)[0], subject.hidden(x))


@law("state batch first")
def state_batch_first(subject: Subject, size: Size) -> Iterator[Finding]:
    for batch in (size.batch, size.batch + 2):
        fresh = subject.state(batch, size.length)
        after = subject.steps(subject.x(batch, size.length), fresh, [size.length])[1]
        for when, state in (("init_state", fresh), ("state after", after)):
            for key, value in state.items():
                first = value.shape[0] if value.ndim else None
                yield verdict(f"{when}[{key!r}] is {tuple(value.shape)}, batch {batch} is not first", first == batch)


@law("state keeps its keys and dtypes")
def state_keeps_dtypes(subject: Subject, size: Size) -> Iterator[Finding]:
    fresh = subject.state(*size)
    after = subject.steps(subject.x(*size), fresh, [size.length])[1]
    yield verdict(f"keys {sorted(fresh)} became {sorted(after)}", sorted(fresh) == sorted(after))
    for key, value in fresh.items():
        now = after[key].dtype
        yield verdict(f"state[{key!r}] was {value.dtype} and became {now}", now == value.dtype)
        counted = now.is_floating_point and size.length > 1 and bool((after[key] == size.length).all())
        what = f"state[{key!r}] counts tokens in {now}, which bfloat16 would round from 256 on; expected integers"
        yield verdict(what, not (counted and after[key].numel()))


@law("chunks equal whole", long=True)
def chunks_equal_whole(subject: Subject, size: Size) -> Iterator[Finding]:
    x = subject.x(*size)
    whole = subject.hidden(x)
    for chunks in chunkings(size.length):
        found = subject.steps(x, subject.state(*size), chunks)[0]
        shown = chunks if len(chunks) < 8 else f"[1] * {len(chunks)}"
        yield equal(f"chunks {shown} differ from the whole", found, whole)


@law("a long row equals its parts")
def long_row(subject: Subject, size: Size) -> Iterator[Finding]:
    """Over the borders of the chunks that are usual inside a backbone, in two parts that do not meet at one."""
    x = subject.x(1, sum(LONG_PARTS))
    try:
        whole = subject.hidden(x)
        found = subject.steps(x, subject.state(1, x.shape[1]), LONG_PARTS)[0]
    except (ValueError, IndexError) as error:  # positions that are learned may end before
        raise Skipped(f"rows of {x.shape[1]}: {error}") from error
    yield equal(f"chunks {LONG_PARTS} differ from the whole", found, whole)


@law("causal", long=True)
def causal(subject: Subject, size: Size) -> Iterator[Finding]:
    x = subject.x(*size)
    whole = subject.hidden(x)
    for cut in sorted({1, size.length // 2, size.length - 1} - {0, size.length}):
        for scale in (1.0, 100.0):  # large, yet finite: a mask that adds a moderate number does not stop it
            other = x.clone()
            other[:, cut:] = scale * subject.x(size.batch, size.length - cut, "future")
            what = f"changing positions from {cut} on (times {scale:g}) changes earlier ones"
            yield equal(what, subject.hidden(other)[:, :cut], whole[:, :cut])
    if size.length == 1:
        yield Finding("no future", 0.0)


@law("remembers earlier tokens")
def remembers(subject: Subject, size: Size) -> Iterator[Finding]:
    """Each of nine tokens is changed by itself. A window that ends among them is a design, not a fault, and is said."""
    length = min(size.length, 10)
    x, new = subject.x(size.batch, length), subject.x(size.batch, length, "new")
    told: dict[str, list[int]] = {}  # the tokens that have influence on the last one
    for how, chunks in (("at once", [length]), ("step by step", [1] * length)):
        state = subject.state(size.batch, length)
        before, told[how] = subject.steps(x, state, chunks)[0][:, -1], []
        for token in range(length - 1):
            other = x.clone()
            other[:, token] = new[:, token]
            gap = subject.steps(other, state, chunks)[0][:, -1] - before
            told[how] += [token + 1] if bool((gap.abs().amax(-1) > 0).all()) else []
        yield verdict(f"{how}: no earlier token has influence on token {length}", bool(told[how]) or length == 1)
    once, stepped = told.values()
    what = f"tokens {once} have influence on token {length} at once, {stepped} step by step"
    yield verdict(what, once[:1] == stepped[:1])  # rounding may hide others
    if length > 1 and once[0] > 1:
        raise Skipped(f"a window: token {length} is told of none before token {once[0]}")


@law("rows independent")
def rows_independent(subject: Subject, size: Size) -> Iterator[Finding]:
    x, tail = subject.x(*size), subject.x(size.batch, 3, "tail")
    whole = subject.hidden(x)
    rows = [size.batch - 1, 0, 0]
    yield equal(f"rows {rows} of x give other vectors than in their batch", subject.hidden(x[rows]), whole[rows])
    state = subject.steps(x, subject.state(size.batch, size.length + 3), [size.length])[1]
    expected = subject.steps(tail, state, [3])[0][rows]
    found = subject.steps(tail[rows], select(state, rows), [3])[0]
    yield equal(f"select(state, {rows}) goes on differently", found, expected)
    other = x.clone()
    other[0] = 100 * subject.x(1, size.length, "row")[0]
    if size.batch > 1:
        yield equal("changing row 0 changes other rows", subject.hidden(other)[1:], whole[1:])


@law("a row alone equals a row of many")
def row_alone(subject: Subject, size: Size) -> Iterator[Finding]:
    x = subject.x(*size)
    whole = subject.hidden(x)
    stepped = subject.steps(x, subject.state(*size), [1] * size.length)[0]
    for row in range(size.batch):
        alone = x[row : row + 1]
        yield equal(f"row {row} alone", subject.hidden(alone), whole[row : row + 1])
        found = subject.steps(alone, subject.state(1, size.length), [1] * size.length)[0]
        yield equal(f"row {row} alone, step by step", found, stepped[row : row + 1])


@law("fork then continue equals continue")
def fork_then_continue(subject: Subject, size: Size) -> Iterator[Finding]:
    x, tail = subject.x(*size), subject.x(size.batch, 4, "tail")
    state = subject.steps(x, subject.state(size.batch, size.length + 4), [size.length])[1]
    expected = subject.steps(tail, state, [1] * 4)[0]
    subject.steps(subject.x(size.batch, 4, "other"), state, [1] * 4)  # goes on from a fork, and must leave `state` be
    yield equal("going on from a fork changed the original", subject.steps(tail, state, [1] * 4)[0], expected)
    whole = subject.hidden(torch.cat([x, tail], 1))[:, size.length :]
    yield equal("going on differs from the whole", expected, whole)


@law("nothing kept in the module")
def nothing_kept(subject: Subject, size: Size) -> Iterator[Finding]:
    x, y = subject.x(*size), subject.x(*size, "y")
    fresh = subject.hidden(x)
    expected = subject.steps(x, subject.state(*size), [1] * size.length)[0]
    ours, theirs, parts = subject.state(*size), subject.state(*size), []
    for t in range(size.length):
        part, ours = subject.steps(x[:, t : t + 1], ours, [1])
        _, theirs = subject.steps(y[:, t : t + 1], theirs, [1])
        parts.append(part)
    yield equal("another sequence in between changes this one", torch.cat(parts, 1), expected)
    yield equal("stepping changes a later call without state", subject.hidden(x), fresh)


@law("max_length kept or refused")
def max_length(subject: Subject, size: Size) -> Iterator[Finding]:
    x = subject.x(size.batch, size.length + 1)
    whole = subject.hidden(x)
    found, full = subject.steps(x[:, : size.length], subject.state(*size), [size.length])
    yield equal("exactly max_length tokens", found, whole[:, : size.length])
    attempts = {
        "one step beyond max_length": (
            lambda: subject.steps(x[:, size.length :], full, [1])[0],
            whole[:, size.length :],
        ),
        "a prompt beyond max_length": (lambda: subject.steps(x, subject.state(*size), [size.length + 1])[0], whole),
    }
    for what, (attempt, expected) in attempts.items():
        try:
            found = attempt()
        except LawBroken:
            raise
        except ValueError:
            yield Finding(f"{what} is refused", 0.0)
        except Exception as error:
            raise LawBroken(
                f"{what} raised {type(error).__name__}; expected a ValueError or the right vectors"
            ) from error
        else:
            yield equal(f"{what} is accepted, but differs from the whole", found, expected)


@law("save and load give the same output", within=0.0)
def save_and_load(subject: Subject, size: Size) -> Iterator[Finding]:
    x = subject.x(*size)
    saved = {key: value.clone() for key, value in subject.model.state_dict().items()}
    other = subject.again(0.5, 1)
    other.load_state_dict(saved)
    yield equal("another model with this state dict", apply(other.eval(), x)[0], subject.hidden(x))
