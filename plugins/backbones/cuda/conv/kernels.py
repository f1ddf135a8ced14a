"""Mamba's causal convolution with SiLU in Triton: walks over some steps of some channels, forward and back.

    y_t = silu(bias + sum over j of weight[:, k - 1 - j] x_(t - j)), j no further than the piece's start

A program keeps the inputs of the last k steps at hand, and back the gradients of the k steps behind, so that each
number is read once. It reads the steps of a tile while it computes those of the tile before.

Shapes: b batch, l length, e channels, k taps, p parts of a row's steps.
"""

import triton
import triton.language as tl

from plugins.backbones.cuda.rows import ages, sigmoid, steps


@triton.jit
def inputs(x, before, x_row, e, channels, t, T: tl.constexpr, K: tl.constexpr, BEFORE: tl.constexpr):
    """The inputs (e) of step t of a row and of the T - 1 before it, in float32; before the row's first those of
    `before` (e k-1), or zeros."""
    found = ()
    for j in tl.static_range(T):
        at = t - j
        one = tl.load(x + at.to(tl.int64) * x_row + e, e < tl.where(at >= 0, channels, 0), 0.0).to(tl.float32)
        if BEFORE:
            earlier = e < tl.where((at < 0) & (at > -K), channels, 0)
            one += tl.load(before + e * (K - 1) + (K - 1 + at), earlier, 0.0).to(tl.float32)
        found = found + (one,)
    return found


@triton.jit
def shifted(first, others, K: tl.constexpr):
    """`first` and all but the last of K others."""
    found = (first,)
    for j in tl.static_range(K - 1):
        found = found + (others[j],)
    return found


@triton.jit
def tap_sum(taps, weights, shift, reach, K: tl.constexpr, STARTS: tl.constexpr):
    """What lies under the SiLU: the bias and K weighted inputs, the latest first, as far as they are of one piece."""
    total = shift
    for j in tl.static_range(K):
        tap = taps[j]
        if STARTS:
            tap = tl.where(reach >= j, tap, 0.0)
        total += weights[j] * tap
    return total


@triton.jit
def taps_of(weight, e, inside, K: tl.constexpr):
    """The weights (e), that of the latest input first."""
    found = ()
    for j in tl.static_range(K):
        found = found + (tl.load(weight + e * K + (K - 1 - j), inside, 0.0).to(tl.float32),)
    return found


@triton.jit
def convolve(
    x, before, weight, bias, since, y, length, channels, part_steps, x_row,
    K: tl.constexpr, E: tl.constexpr, T: tl.constexpr, STARTS: tl.constexpr, BEFORE: tl.constexpr,
):  # fmt: skip
    """y (b l e), one part of a row's steps, E channels, a program."""
    row = tl.program_id(2).to(tl.int64)
    e = tl.program_id(1) * E + tl.arange(0, E)
    inside = e < channels
    x, y = x + row * length * x_row, y + row * length * channels
    if STARTS:
        since += row * length
    if BEFORE:
        before += row * channels * (K - 1)
    weights, shift = taps_of(weight, e, inside, K), tl.load(bias + e, inside, 0.0).to(tl.float32)
    begin = tl.program_id(0) * part_steps
    count = tl.minimum(length - begin, part_steps)
    past = inputs(x, before, x_row, e, channels, begin - 1, K, K, BEFORE)
    xs = steps(x, x_row, e, inside, begin, count, 0, T, False)
    rs = xs  # a loop carries what is there before it
    if STARTS:
        rs = ages(since, begin, count, 0, T, False)
    for t in range(0, count, T):
        x_now, r_now = xs, rs
        xs = steps(x, x_row, e, inside, begin, count, t + T, T, False)
        if STARTS:
            rs = ages(since, begin, count, t + T, T, False)
        for j in tl.static_range(T):
            taps = shifted(x_now[j].to(tl.float32), past, K)
            total = tap_sum(taps, weights, shift, r_now[j], K, STARTS)
            to = (begin + t + j).to(tl.int64) * channels
            tl.store(y + to + e, total * sigmoid(total), e < tl.where(t + j < count, channels, 0))
            past = taps


@triton.jit
def convolve_back(
    grad_y, x, before, weight, bias, since, grad_x, grad_before, sums,
    length, channels, part_steps, x_row, grad_x_row,
    K: tl.constexpr, E: tl.constexpr, T: tl.constexpr, STARTS: tl.constexpr, BEFORE: tl.constexpr,
):  # fmt: skip
    """What one part of a row's steps wants of x, `grad_x` (b l e), and of `before`, `grad_before` (b e k-1), and its
    share in the gradients of weights and bias, `sums` (b p k+1 e); E channels a program.

    What the first k - 1 steps behind the part want is found out here too.
    """
    part, row = tl.program_id(0), tl.program_id(2).to(tl.int64)
    e = tl.program_id(1) * E + tl.arange(0, E)
    inside = e < channels
    x, grad_y, grad_x = x + row * length * x_row, grad_y + row * length * channels, grad_x + row * length * grad_x_row
    if STARTS:
        since += row * length
    if BEFORE:
        before += row * channels * (K - 1)
        grad_before += row * channels * (K - 1)
    weights, shift = taps_of(weight, e, inside, K), tl.load(bias + e, inside, 0.0).to(tl.float32)
    low = part * part_steps
    high = tl.minimum(length, low + part_steps)
    count = tl.minimum(length, high + K - 1) - low  # with the steps behind
    walked = count
    if BEFORE:
        walked = tl.where(part == 0, count + K - 1, count)
    none = tl.zeros((E,), tl.float32)
    later, added = shifted(none, (none,) * K, K), (none,) * (K + 1)
    last = low + count - 1
    taps = shifted(none, inputs(x, before, x_row, e, channels, last, K, K, BEFORE), K)  # of the step behind the last
    gs = steps(grad_y, channels, e, inside, low, count, 0, T, True)
    xs = inputs(x, before, x_row, e, channels, last - (K - 1), T, K, BEFORE)
    rs = gs  # a loop carries what is there before it
    if STARTS:
        rs = ages(since, low, count, 0, T, True)
    for i in range(0, walked, T):
        g_now, x_now, r_now = gs, xs, rs
        gs = steps(grad_y, channels, e, inside, low, count, i + T, T, True)
        xs = inputs(x, before, x_row, e, channels, last - (i + T) - (K - 1), T, K, BEFORE)
        if STARTS:
            rs = ages(since, low, count, i + T, T, True)
        for j in tl.static_range(T):
            t = last - (i + j)
            own = ()
            for m in tl.static_range(K - 1):
                own = own + (taps[m + 1],)
            taps = own + (x_now[j],)
            total = tap_sum(taps, weights, shift, r_now[j], K, STARTS)
            s = sigmoid(total)
            grad = g_now[j].to(tl.float32) * s * (1.0 + total * (1.0 - s))
            grad = tl.where(i + j < count, grad, 0.0)
            later = shifted(grad, later, K)  # of steps t, t + 1, ...
            wanted = tl.zeros((E,), tl.float32)
            for m in tl.static_range(K):
                wanted += weights[m] * later[m]
            mine = (t >= low) & (t < high)
            tl.store(grad_x + t.to(tl.int64) * grad_x_row + e, wanted, e < tl.where(mine, channels, 0))
            if BEFORE:
                earlier = e < tl.where((t < 0) & (t > -K), channels, 0)
                tl.store(grad_before + e * (K - 1) + (K - 1 + t), wanted, earlier)
            counted = tl.where(mine, grad, 0.0)
            more = ()
            for m in tl.static_range(K):
                tap = taps[m]
                if STARTS:
                    tap = tl.where(r_now[j] >= m, tap, 0.0)
                more = more + (added[m] + counted * tap,)
            added = more + (added[K] + counted,)
            if STARTS:  # what is before a start is not wanted behind it
                cleared = ()
                for m in tl.static_range(K):
                    cleared = cleared + (tl.where(r_now[j] == 0, 0.0, later[m]),)
                later = cleared
    to = sums + (row * tl.num_programs(0) + part) * (K + 1) * channels + e
    for m in tl.static_range(K):
        tl.store(to + (K - 1 - m) * channels, added[m], inside)
    tl.store(to + K * channels, added[K], inside)
