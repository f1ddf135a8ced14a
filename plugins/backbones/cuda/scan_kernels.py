"""The selective scan in Triton: walks over chunks of time that go at the same time, forward and back.

    dt = softplus(delta + bias)
    h_t = exp(dt_t A) h_(t-1) + dt_t B_t u_t        (h_(t-1) is 0 where a piece starts)
    y_t = (C_t . h_t + D u_t) silu(z_t)

A first walk finds what each chunk adds to a state of zero and how much of an older state outlives it; `combine` makes
of these the state before each chunk; a second walk writes y. Backward the same is done for what later steps want of
each chunk's last state. Then every chunk has all it needs: `differentiate` walks it forward, leaves the state before
every few steps in a scratch of its own, and walks it back. Of the forward pass only the states before chunks are kept.

A program holds the states of some channels as (n e), the channels over its threads, so that a sum over n takes no
exchange between threads.

Shapes: b batch, l length, e channels, n state dimensions, c chunks.
Source: Gu & Dao, arXiv 2312.00752, section 3.3 and appendix C.
"""

import triton
import triton.language as tl


@triton.jit
def softplus(x):
    """log(1 + exp(x)), to the last bits also where it is small: 2 artanh(s) for s = exp(-|x|) / (2 + exp(-|x|))."""
    small = tl.exp(-tl.abs(x))
    s = small / (2.0 + small)
    q = s * s
    series = 0.1111111111 + q * (0.0909090909 + q * 0.0769230769)
    series = 1.0 + q * (0.3333333333 + q * (0.2 + q * (0.1428571429 + q * series)))
    return tl.maximum(x, 0.0) + 2.0 * s * series


@triton.jit
def sigmoid(x):
    """1 / (1 + exp(-x))."""
    return 1.0 / (1.0 + tl.exp(-x))


@triton.jit
def walk(
    u, delta, z, B, C, rates, D, bias, since, first, y, last, ends, sums,
    length, channels, chunk, u_row, delta_row, z_row, bc_row, y_row,
    N: tl.constexpr, NP: tl.constexpr, E: tl.constexpr, STARTS: tl.constexpr, SUMMARY: tl.constexpr,
):  # fmt: skip
    """One chunk forward in time, for E channels of one row: from the state before each chunk, `first` (b c n e), to y
    and the row's last state `last` (b e n).

    SUMMARY: from zero to the state behind the chunk, `ends` (b c n e), and the sum of its step sizes `sums` (b c e), -1
    where a start lies in it.
    """
    part, row = tl.program_id(1), tl.program_id(2).to(tl.int64)
    chunks = tl.num_programs(1)
    e = tl.program_id(0) * E + tl.arange(0, E)
    n = tl.arange(0, NP)
    here = e < channels
    both = (n < N)[:, None] & here[None, :]
    grid = n[:, None] * channels + e[None, :]
    rate = tl.load(rates + grid, both, 0.0)
    shift = tl.load(bias + e, here, 0.0)
    at_chunk = (row * chunks + part) * N * channels
    if SUMMARY:
        h = tl.zeros((NP, E), tl.float32)
        total = tl.zeros((E,), tl.float32)
    else:
        h = tl.load(first + at_chunk + grid, both, 0.0)
        skip = tl.load(D + e, here, 0.0)
    for t in range(part * chunk, tl.minimum(length, part * chunk + chunk)):
        step = row * length + t
        x = tl.load(u + step * u_row + e, here, 0.0).to(tl.float32)
        dt = softplus(tl.load(delta + step * delta_row + e, here, 0.0).to(tl.float32) + shift)
        b = tl.load(B + step * bc_row + n, n < N, 0.0).to(tl.float32)
        if STARTS:
            fresh = tl.load(since + step) == 0
            h = tl.where(fresh, 0.0, h)
        h = tl.exp2(dt[None, :] * rate) * h + (dt * x)[None, :] * b[:, None]
        if SUMMARY:
            total = tl.where(total < 0.0, total, total + dt)
            if STARTS:
                total = tl.where(fresh, -1.0, total)
        else:
            c = tl.load(C + step * bc_row + n, n < N, 0.0).to(tl.float32)
            gate = tl.load(z + step * z_row + e, here, 0.0).to(tl.float32)
            out = (tl.sum(h * c[:, None], 0) + skip * x) * gate * sigmoid(gate)
            tl.store(y + step * y_row + e, out, here)
    if SUMMARY:
        tl.store(ends + at_chunk + grid, h, both)
        tl.store(sums + (row * chunks + part) * channels + e, total, here)
    else:
        if part == chunks - 1:
            tl.store(last + (row * channels + e[None, :]) * N + n[:, None], h, both)


@triton.jit
def combine(
    ends, sums, rates, given, channels, chunks,
    N: tl.constexpr, NP: tl.constexpr, E: tl.constexpr, BACK: tl.constexpr, GIVEN: tl.constexpr,
):  # fmt: skip
    """Turns `ends` (b c n e) of zero states into what comes before each chunk (BACK: behind it), in place.

    `given` (b e n) comes before the first (BACK: behind the last); none: zero.
    """
    row = tl.program_id(1).to(tl.int64)
    e = tl.program_id(0) * E + tl.arange(0, E)
    n = tl.arange(0, NP)
    here = e < channels
    both = (n < N)[:, None] & here[None, :]
    grid = n[:, None] * channels + e[None, :]
    turned = (row * channels + e[None, :]) * N + n[:, None]
    rate = tl.load(rates + grid, both, 0.0)
    if GIVEN:
        h = tl.load(given + turned, both, 0.0).to(tl.float32)
    else:
        h = tl.zeros((NP, E), tl.float32)
    for i in range(chunks):
        part = i
        if BACK:
            part = chunks - 1 - i
        at = (row * chunks + part) * N * channels + grid
        own = tl.load(ends + at, both, 0.0)
        total = tl.load(sums + (row * chunks + part) * channels + e, here, 0.0)
        tl.store(ends + at, h, both)
        h = tl.where(total[None, :] < 0.0, 0.0, tl.exp2(total[None, :] * rate) * h) + own


@triton.jit
def walk_back(
    grad_y, delta, z, C, rates, bias, since, ends, sums,
    length, channels, chunk, grad_row, delta_row, z_row, bc_row,
    N: tl.constexpr, NP: tl.constexpr, E: tl.constexpr, STARTS: tl.constexpr,
):  # fmt: skip
    """One chunk back in time from a want of zero: what each step's past state is worth, q_t = a_t (C_t dy_t + q_(t+1)).

    `ends` (b c n e) gets q before the chunk, `sums` (b c e) what it has in `walk`.
    """
    part, row = tl.program_id(1), tl.program_id(2).to(tl.int64)
    chunks = tl.num_programs(1)
    e = tl.program_id(0) * E + tl.arange(0, E)
    n = tl.arange(0, NP)
    here = e < channels
    both = (n < N)[:, None] & here[None, :]
    grid = n[:, None] * channels + e[None, :]
    rate = tl.load(rates + grid, both, 0.0)
    shift = tl.load(bias + e, here, 0.0)
    q = tl.zeros((NP, E), tl.float32)
    total = tl.zeros((E,), tl.float32)
    begin, end = part * chunk, tl.minimum(length, part * chunk + chunk)
    for i in range(end - begin):
        step = row * length + end - 1 - i
        dt = softplus(tl.load(delta + step * delta_row + e, here, 0.0).to(tl.float32) + shift)
        gate = tl.load(z + step * z_row + e, here, 0.0).to(tl.float32)
        dy = tl.load(grad_y + step * grad_row + e, here, 0.0).to(tl.float32) * gate * sigmoid(gate)
        c = tl.load(C + step * bc_row + n, n < N, 0.0).to(tl.float32)
        q = tl.exp2(dt[None, :] * rate) * (q + dy[None, :] * c[:, None])
        total = tl.where(total < 0.0, total, total + dt)
        if STARTS:
            fresh = tl.load(since + step) == 0
            q = tl.where(fresh, 0.0, q)
            total = tl.where(fresh, -1.0, total)
    tl.store(ends + (row * chunks + part) * N * channels + grid, q, both)
    tl.store(sums + (row * chunks + part) * channels + e, total, here)


@triton.jit
def differentiate(
    grad_y, u, delta, z, B, C, rates, D, bias, since, first, behind, scratch,
    grad_u, grad_delta, grad_z, grad_B, grad_C, grad_A, grad_D, grad_bias, grad_before,
    batch, length, channels, chunk, grad_row, u_row, delta_row, z_row, bc_row, grad_z_row,
    N: tl.constexpr, NP: tl.constexpr, E: tl.constexpr, T: tl.constexpr, STARTS: tl.constexpr, DOTS: tl.constexpr,
):  # fmt: skip
    """All gradients, one chunk of E channels of one row after the other.

    `behind` (b c n e) is what later chunks want of each chunk's last state. `grad_B` and `grad_C` (parts b l n) have one
    part per block of channels, `grad_A` (b c n e), `grad_D` and `grad_bias` (b c e) one per chunk. `scratch` holds for
    each program the states before every T steps of a chunk. DOTS: sums over channels on the matrix units, of numbers in the input's 16 bits.
    """
    n = tl.arange(0, NP)
    there = n < N
    chunks, parts = (length + chunk - 1) // chunk, (channels + E - 1) // E
    own = scratch + tl.program_id(0).to(tl.int64) * (chunk // T) * NP * E
    own += n[:, None] * E + tl.arange(0, E)[None, :]
    if DOTS:
        ones = tl.full((E, 16), 1.0, tl.float32).to(u.dtype.element_ty)
    for work in range(tl.program_id(0), parts * chunks * batch, tl.num_programs(0)):
        block = work % parts
        part = work // parts % chunks
        row = (work // parts // chunks).to(tl.int64)
        e = block * E + tl.arange(0, E)
        here = e < channels
        both = there[:, None] & here[None, :]
        grid = n[:, None] * channels + e[None, :]
        rate = tl.load(rates + grid, both, 0.0)
        shift = tl.load(bias + e, here, 0.0)
        skip = tl.load(D + e, here, 0.0)
        at_chunk = (row * chunks + part) * N * channels
        begin, end = part * chunk, tl.minimum(length, part * chunk + chunk)
        tiles = (end - begin + T - 1) // T
        h = tl.load(first + at_chunk + grid, both, 0.0)
        for tile in range(tiles):
            tl.store(own + tile * NP * E, h)
            for t in range(begin + tile * T, tl.minimum(end, begin + tile * T + T)):
                step = row * length + t
                x = tl.load(u + step * u_row + e, here, 0.0).to(tl.float32)
                dt = softplus(tl.load(delta + step * delta_row + e, here, 0.0).to(tl.float32) + shift)
                b = tl.load(B + step * bc_row + n, there, 0.0).to(tl.float32)
                if STARTS:
                    h = tl.where(tl.load(since + step) == 0, 0.0, h)
                h = tl.exp2(dt[None, :] * rate) * h + (dt * x)[None, :] * b[:, None]
        tl.debug_barrier()
        q = tl.load(behind + at_chunk + grid, both, 0.0)
        d_A = tl.zeros((NP, E), tl.float32)
        d_D = tl.zeros((E,), tl.float32)
        d_bias = tl.zeros((E,), tl.float32)
        at_part = ((block * batch + row) * length).to(tl.int64)
        for i in range(tiles):
            tile = tiles - 1 - i
            h = tl.load(own + tile * NP * E)
            states, decays = (), ()
            for j in tl.static_range(T):
                t = begin + tile * T + j
                live = e < tl.where(t < end, channels, 0)  # behind the end nothing changes
                step = row * length + t
                x = tl.load(u + step * u_row + e, live, 0.0).to(tl.float32)
                raw = tl.load(delta + step * delta_row + e, live, 0.0).to(tl.float32) + shift
                dt = tl.where(live, softplus(raw), 0.0)
                b = tl.load(B + step * bc_row + n, n < tl.where(t < end, N, 0), 0.0).to(tl.float32)
                decay = tl.exp2(dt[None, :] * rate)
                if STARTS:
                    decay = tl.where(tl.load(since + step, t < end, 1) == 0, 0.0, decay)
                h = decay * h + (dt * x)[None, :] * b[:, None]
                states, decays = states + (h,), decays + (decay,)
            for k in tl.static_range(T):
                t = begin + tile * T + (T - 1 - k)
                live = e < tl.where(t < end, channels, 0)
                step = row * length + t
                x = tl.load(u + step * u_row + e, live, 0.0).to(tl.float32)
                raw = tl.load(delta + step * delta_row + e, live, 0.0).to(tl.float32) + shift
                dt = tl.where(live, softplus(raw), 0.0)
                gate = tl.load(z + step * z_row + e, live, 0.0).to(tl.float32)
                coming = tl.load(grad_y + step * grad_row + e, live, 0.0).to(tl.float32)
                b = tl.load(B + step * bc_row + n, n < tl.where(t < end, N, 0), 0.0).to(tl.float32)[:, None]
                c = tl.load(C + step * bc_row + n, n < tl.where(t < end, N, 0), 0.0).to(tl.float32)[:, None]
                opened = sigmoid(gate)
                dy = coming * gate * opened
                drive = dt * x
                g = q + dy[None, :] * c
                through = g * (states[T - 1 - k] - drive[None, :] * b)  # of the decay's exponent
                out = tl.sum(states[T - 1 - k] * c, 0) + skip * x
                d_dt = tl.sum(through * rate, 0) * 0.6931471805599453
                d_drive = tl.sum(g * b, 0)
                d_A += through * dt[None, :]
                d_D += dy * x
                d_raw = (d_dt + d_drive * x) * sigmoid(raw)
                d_bias += tl.where(live, d_raw, 0.0)
                of_b, of_c = g * drive[None, :], states[T - 1 - k] * dy[None, :]
                if DOTS:
                    sum_b = tl.max(tl.dot(of_b.to(u.dtype.element_ty), ones), 1)  # all columns are the same
                    sum_c = tl.max(tl.dot(of_c.to(u.dtype.element_ty), ones), 1)
                else:
                    sum_b, sum_c = tl.sum(of_b, 1), tl.sum(of_c, 1)
                at = (at_part + t) * N + n
                tl.store(grad_B + at, sum_b, n < tl.where(t < end, N, 0))
                tl.store(grad_C + at, sum_c, n < tl.where(t < end, N, 0))
                d_gate = coming * out * opened * (1.0 + gate * (1.0 - opened))
                tl.store(grad_z + step * grad_z_row + e, d_gate, live)
                tl.store(grad_u + step * channels + e, d_drive * dt + skip * dy, live)
                tl.store(grad_delta + step * channels + e, d_raw, live)
                q = decays[T - 1 - k] * g
        tl.store(grad_A + at_chunk + grid, d_A, both)
        tl.store(grad_D + (row * chunks + part) * channels + e, d_D, here)
        tl.store(grad_bias + (row * chunks + part) * channels + e, d_bias, here)
        if part == 0:
            tl.store(grad_before + (row * channels + e[None, :]) * N + n[:, None], q, both)
        tl.debug_barrier()
