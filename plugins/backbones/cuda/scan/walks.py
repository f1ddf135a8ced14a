"""The selective scan in Triton, forward: walks over segments of time that go at the same time.

    dt = softplus(delta + bias)
    h_t = exp(dt_t A) h_(t-1) + dt_t B_t u_t        (h_(t-1) is 0 where a piece starts)
    y_t = (C_t . h_t + D u_t) silu(z_t)

Where rows alone do not fill a card they are cut into segments: a first walk finds what each segment adds to a state of
zero and how much of an older state outlives it; `combine` makes of these the state before each segment. The walk that
writes y leaves the state before every chunk, which is all that is kept of the forward pass (gradients.py).

A program holds the states of some channels as (n e), the channels over its threads, so that a sum over n takes no
exchange between threads. `zero` is an offset of nothing: added twice, it hides from the compiler how well states are
aligned, and so everything has two channels a thread and nothing is moved between layouts. A walk waits for memory far
longer than it computes a step, so it reads the steps of a tile while it computes those of the tile before.

Shapes: b batch, l length, e channels, n state dimensions, s segments, c chunks.
Source: Gu & Dao, arXiv 2312.00752, section 3.3 and appendix C.
"""

import triton
import triton.language as tl

from plugins.backbones.cuda.rows import ages, sigmoid, softplus, steps


@triton.jit
def block_of(number, channels, rates, bias, zero, N: tl.constexpr, NP: tl.constexpr, E: tl.constexpr):
    """A program's E channels: which they are and which of them there are (e), which states there are (n), where their
    states lie in one (n e) and which of these there are, their rates (n e) and the biases of their step sizes (e)."""
    e = number * E + tl.arange(0, E)
    n = tl.arange(0, NP)
    here, there = e < channels, n < N
    both = there[:, None] & here[None, :]
    grid = n[:, None] * channels + e[None, :] + 2 * zero
    return e, here, there, grid, both, tl.load(rates + grid, both, 0.0), tl.load(bias + e, here, 0.0)


@triton.jit(do_not_specialize=["zero"])
def walk(
    u, delta, z, B, C, rates, D, bias, since, before, y, first, last, ends, sums,
    length, channels, segment, chunk, zero, u_row, delta_row, z_row, bc_row, y_row,
    N: tl.constexpr, NP: tl.constexpr, E: tl.constexpr, T: tl.constexpr, STARTS: tl.constexpr, SUMMARY: tl.constexpr,
):  # fmt: skip
    """One segment forward in time, for E channels of one row: from the state before it, `before` (b s n e), to y, the
    states before its chunks, `first` (b c n e), and the row's last state `last` (b e n).

    SUMMARY: from zero to the state behind the segment, `ends` (b s n e), and the sum of its step sizes `sums`
    (b s e), -1 where a start lies in it; of the last segment nobody asks for it.
    """
    part, row = tl.program_id(1), tl.program_id(2).to(tl.int64)
    n = tl.arange(0, NP)
    e, here, there, grid, both, rate, shift = block_of(tl.program_id(0), channels, rates, bias, zero, N, NP, E)
    own = row * ((length + segment - 1) // segment) + part
    h = tl.zeros((NP, E), tl.float32)
    total = tl.zeros((E,), tl.float32)
    skip = total
    u, delta, B = u + row * length * u_row, delta + row * length * delta_row, B + row * length * bc_row
    if not SUMMARY:
        h = tl.load(before + own * N * channels + grid, both, 0.0)
        skip = tl.load(D + e, here, 0.0)
        z, y, C = z + row * length * z_row, y + row * length * y_row, C + row * length * bc_row
    if STARTS:
        since += row * length
    begin = part * segment
    count = tl.minimum(length - begin, segment)
    us = steps(u, u_row, e, here, begin, count, 0, T, False)
    ds = steps(delta, delta_row, e, here, begin, count, 0, T, False)
    zs, fs = us, us  # a loop carries what is there before it
    if not SUMMARY:
        zs = steps(z, z_row, e, here, begin, count, 0, T, False)
    if STARTS:
        fs = ages(since, begin, count, 0, T, False)
    for low in range(0, count, chunk):
        if not SUMMARY:
            at_chunk = row * ((length + chunk - 1) // chunk) + (begin + low) // chunk
            tl.store(first + at_chunk * N * channels + grid, h, both)
        for t in range(low, tl.minimum(low + chunk, count), T):
            u_now, d_now, z_now, f_now = us, ds, zs, fs
            us = steps(u, u_row, e, here, begin, count, t + T, T, False)
            ds = steps(delta, delta_row, e, here, begin, count, t + T, T, False)
            if not SUMMARY:
                zs = steps(z, z_row, e, here, begin, count, t + T, T, False)
            if STARTS:
                fs = ages(since, begin, count, t + T, T, False)
            for j in tl.static_range(T):
                near = (begin + tl.minimum(t + j, count - 1)).to(tl.int64) * bc_row
                x, dt = u_now[j].to(tl.float32), softplus(d_now[j].to(tl.float32) + shift)
                if j > 0:
                    dt = tl.where(t + j < count, dt, 0.0)  # behind the end nothing changes
                b = tl.load(B + near + n, there, 0.0).to(tl.float32)
                if STARTS:
                    h = tl.where(f_now[j] == 0, 0.0, h)
                h = tl.exp2(dt[None, :] * rate) * h + (dt * x)[None, :] * b[:, None]
                if SUMMARY:
                    total = tl.where(total < 0.0, total, total + dt)
                    if STARTS:
                        total = tl.where(f_now[j] == 0, -1.0, total)
                else:
                    c = tl.load(C + near + n, there, 0.0).to(tl.float32)
                    gate = z_now[j].to(tl.float32)
                    out = (tl.sum(h * c[:, None], 0) + skip * x) * gate * sigmoid(gate)
                    to = (begin + t + j).to(tl.int64) * y_row
                    tl.store(y + to + e, out, e < tl.where(t + j < count, channels, 0))
    if SUMMARY:
        tl.store(ends + own * N * channels + grid, h, both)
        tl.store(sums + own * channels + e, total, here)
    else:
        if begin + segment >= length:
            tl.store(last + (row * channels + e[None, :]) * N + n[:, None], h, both)


@triton.jit
def combine(
    ends, sums, rates, given, channels, segments,
    N: tl.constexpr, E: tl.constexpr, AHEAD: tl.constexpr, BACK: tl.constexpr, GIVEN: tl.constexpr,
):  # fmt: skip
    """Turns `ends` (b s n e) of zero states into what comes before each segment (BACK: behind it), in place; one state
    dimension of E channels a program, AHEAD segments read at once.

    `given` (b e n) comes before the first (BACK: behind the last); none: zero.
    """
    n, row = tl.program_id(1), tl.program_id(2).to(tl.int64)
    e = tl.program_id(0) * E + tl.arange(0, E)
    here = e < channels
    rate = tl.load(rates + n * channels + e, here, 0.0)
    if GIVEN:
        h = tl.load(given + (row * channels + e) * N + n, here, 0.0).to(tl.float32)
    else:
        h = tl.zeros((E,), tl.float32)
    for i in range(0, segments, AHEAD):
        own, total = (), ()
        for j in tl.static_range(AHEAD):
            part = i + j
            if BACK:
                part = segments - 1 - i - j
            there = e < tl.where(i + j < segments, channels, 0)
            own = own + (tl.load(ends + ((row * segments + part) * N + n) * channels + e, there, 0.0),)
            total = total + (tl.load(sums + (row * segments + part) * channels + e, there, 0.0),)
        for j in tl.static_range(AHEAD):
            part = i + j
            if BACK:
                part = segments - 1 - i - j
            there = e < tl.where(i + j < segments, channels, 0)
            tl.store(ends + ((row * segments + part) * N + n) * channels + e, h, there)
            h = tl.where(total[j] < 0.0, 0.0, tl.exp2(total[j] * rate) * h) + own[j]
