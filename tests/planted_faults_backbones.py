"""Backbones with one fault each, and the law that must name it."""

import torch
from torch import nn
from torch.nn import functional as F

from tests.reference_backbone import Reference

FAULTS = {}


def breaks(law):
    """Notes the law that a fault breaks."""

    def mark(fault):
        FAULTS[fault.__name__] = (fault, law)
        return fault

    return mark


@breaks("causal")
class FutureLeak(Reference):
    def near(self, length, device):
        near = super().near(length, device)
        return near | near.roll(1, 1).tril(self.kept + 1)


@breaks("causal")
class FutureThroughTheMean(Reference):
    def result(self, hidden, state):
        return hidden - 1e-3 * hidden.mean(1, keepdim=True), state


@breaks("chunks equal whole")
class WindowOffByOne(Reference):
    def alive(self, seen, current):
        alive = super().alive(seen, current)
        return alive & (torch.arange(self.kept) > 0)


@breaks("chunks equal whole")
class PositionRestarts(Reference):
    def next_position(self, position):
        return torch.zeros_like(position[:, 0])


@breaks("chunks equal whole")
class StateForgotten(Reference):
    def begin(self, batch, length, state):
        return self.init_state(batch, length)


@breaks("chunks equal whole")
class MemoryForgottenInSteps(Reference):
    def recall(self, layer, state):
        return torch.zeros_like(state[f"memory{layer}"])


@breaks("state batch first")
class StateNotBatchFirst(Reference):
    def init_state(self, batch, max_length):
        state = super().init_state(batch, max_length)
        for layer in range(len(self.gates)):
            state[f"memory{layer}"] = state[f"memory{layer}"].T
        return state

    def recall(self, layer, state):
        return state[f"memory{layer}"].T

    def store(self, layer, state, memory):
        state[f"memory{layer}"] = memory.T


@breaks("state keeps its keys and dtypes")
class CounterCastToFloat(Reference):
    def begin(self, batch, length, state):
        new = super().begin(batch, length, state)
        return {**new, "position": new["position"].long()}

    def next_position(self, position):
        return super().next_position(position).to(self.table.dtype)


@breaks("packed equals separate")
class LeakOverPieceBoundary(Reference):
    def carried(self, memory, start):
        return memory


@breaks("packed equals separate")
class AttentionMaskIgnored(Reference):
    def pieces(self, starts):
        return torch.zeros_like(starts, dtype=torch.int64)


@breaks("packed equals separate")
class PositionsRunOn(Reference):
    def positions(self, position, starts):
        return super().positions(position, torch.zeros_like(starts))


@breaks("packed equals separate")
class PieceOfOneTokenMissed(Reference):
    def pieces(self, starts):
        return (starts & ~F.pad(starts, (1, 0))[:, :-1]).cumsum(1)


@breaks("packed gradients equal separate")
class GradientCutWhenPacked(Reference):
    def carried(self, memory, start):
        return super().carried(memory.detach() if start.any() else memory, start)


@breaks("a start inside a continued state")
class FirstStartIgnored(Reference):
    def positions(self, position, starts):
        return super().positions(position, starts & (torch.arange(starts.shape[1]) > 0))


@breaks("ragged prompts equal alone")
class PaddingStaysInTheMemory(Reference):
    def carried(self, memory, start):
        return memory * torch.where(start, 1e-6, 1.0)[:, None]


@breaks("gradient is true")
class GradientCut(Reference):
    def carried(self, memory, start):
        return super().carried(memory.detach(), start)


class _HalfBackward(torch.autograd.Function):
    @staticmethod
    def forward(context, x):
        context.save_for_backward(x)
        return torch.tanh(x)

    @staticmethod
    def backward(context, gradient):
        (x,) = context.saved_tensors
        return gradient * (1 - torch.tanh(x)) ** 2


@breaks("gradient is true")
class WrongBackward(Reference):
    def drop(self, x):
        return _HalfBackward.apply(x)


@breaks("every parameter gets a gradient")
class ParameterWithoutGradient(Reference):
    def __init__(self, hparams):
        super().__init__(hparams)
        self.unused = nn.Linear(hparams.dim, hparams.dim)


@breaks("deterministic in evaluation")
class DropoutLeftOn(Reference):
    def drop(self, x):
        return F.dropout(x, 0.1)


@breaks("training without dropout equals evaluation")
class NoiseInTraining(Reference):
    def drop(self, x):
        return x + 0.1 * torch.randn_like(x) if self.training else x


@breaks("dtype kept")
class WrongDtype(Reference):
    def result(self, hidden, state):
        return hidden.float(), state


@breaks("shape kept")
class BatchAndLengthSwapped(Reference):
    def result(self, hidden, state):
        return hidden.transpose(0, 1), state


@breaks("returns a pair")
class PairNotReturned(Reference):
    def result(self, hidden, state):
        return hidden if state is None else (hidden, state)


@breaks("no state unless asked")
class StateUnasked(Reference):
    def result(self, hidden, state):
        return hidden, state or self.init_state(hidden.shape[0], 1)


@breaks("rows independent")
class SharedAcrossRows(Reference):
    def carried(self, memory, start):
        memory = super().carried(memory, start)
        return memory + 1e-3 * memory.mean(0)


@breaks("a row alone equals a row of many")
class BatchStatistics(Reference):
    def result(self, hidden, state):
        return hidden / hidden.std((0, 2), keepdim=True), state


@breaks("nothing kept in the module")
class StateInTheModule(Reference):
    kept_memory = None

    def recall(self, layer, state):
        memory = state[f"memory{layer}"]
        mine = self.kept_memory
        return mine if layer == 0 and memory.any() and mine is not None else memory

    def store(self, layer, state, memory):
        super().store(layer, state, memory)
        if layer == 0:
            self.kept_memory = memory


@breaks("fork then continue equals continue")
class CounterInTheModule(Reference):
    calls = 0

    def begin(self, batch, length, state):
        self.calls = 0 if state is None or not int(state["position"].max()) else self.calls + 1
        return super().begin(batch, length, state)

    def drop(self, x):
        return super().drop(x) * (1 + 1e-3 * self.calls)


@breaks("input left alone")
class InputChangedInPlace(Reference):
    def forward(self, x, state=None, starts=None):
        if not x.requires_grad:
            x.mul_(2)
        return super().forward(x, state, starts)


@breaks("save and load give the same output")
class WeightOutsideTheStateDict(Reference):
    def __init__(self, hparams):
        super().__init__(hparams)
        self.scale = [torch.rand(hparams.dim)]

    def result(self, hidden, state):
        return hidden * self.scale[0].to(hidden), state


@breaks("finite in bfloat16")
class Overflow(Reference):
    def result(self, hidden, state):
        large = 1e60 if hidden.dtype == torch.float64 else 1e39
        return hidden * large / large, state


@breaks("trains with products in bfloat16")
class SolvesWhatAutocastMade(Reference):
    """A product is 16 bits wide under autocast, and there is no solver for it."""

    def result(self, hidden, state):
        identity = torch.eye(hidden.shape[1], dtype=hidden.dtype)
        one = identity @ identity
        return torch.linalg.solve_triangular(one, identity.to(one.dtype), upper=False) @ hidden, state


@breaks("lower precision equals float64")
class RoundedInside(Reference):
    def result(self, hidden, state):
        return (hidden.bfloat16().float() if hidden.dtype == torch.float32 else hidden), state


@breaks("max_length kept or refused")
class WrapsAroundSilently(Reference):
    def begin(self, batch, length, state):
        new = super().begin(batch, length, state)
        self.limit = length if state is None else int(new["limit"][0])
        return {**new, "limit": torch.full((batch,), self.limit)}

    def init_state(self, batch, max_length):
        return {**super().init_state(batch, max_length), "limit": torch.full((batch,), max_length)}

    def positions(self, position, starts):
        return super().positions(position, starts).clamp(max=self.limit - 1)


@breaks("remembers earlier tokens")
class NoMemory(Reference):
    def carried(self, memory, start):
        return torch.zeros_like(memory)

    def near(self, length, device):
        near = super().near(length, device)
        return near & ~near.roll(-1, 1).tril(self.kept - 1)


@breaks("declares dim and packs")
class PacksNotDeclared(Reference):
    packs = None


@breaks("chunks equal whole")
class Raises(Reference):
    def recall(self, layer, state):
        return state[f"memory{layer}"][:, : self.missing]


@breaks("declares dim and packs")
class NoSpreadOfEmbeddings(Reference):
    embedding_std = 0.0


@breaks("input left alone")
class StartsChangedInPlace(Reference):
    def pieces(self, starts):
        found = super().pieces(starts)
        starts.zero_()
        return found


@breaks("state keeps its keys and dtypes")
class CountsInFloats(Reference):
    def init_state(self, batch, max_length):
        state = super().init_state(batch, max_length)
        return {**state, "position": state["position"].to(self.table)}

    def positions(self, position, starts):
        return super().positions(position.long(), starts)

    def next_position(self, position):
        return super().next_position(position).to(self.table)


@breaks("a long row equals its parts")
class ForgetsEvery256(Reference):
    def remember(self, layer, hidden, state, starts):
        starts = starts.clone()
        starts[:, 256::256] = True
        return super().remember(layer, hidden, state, starts)
