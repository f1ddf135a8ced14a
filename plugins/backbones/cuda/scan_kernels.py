"""The selective scan in Triton: walks over chunks of time that go at the same time, forward and back.

    dt = softplus(delta + bias)
    h_t = exp(dt_t A) h_(t-1) + dt_t B_t u_t        (h_(t-1) is 0 where a piece starts)
    y_t = (C_t . h_t + D u_t) silu(z_t)

A first walk finds what each chunk adds to a state of zero and how much of an older state outlives it; `combine` makes
of these the state before each chunk; a second walk writes y. Backward the same is done for what later steps want of
each chunk's last state. Then every chunk has all it needs: `differentiate` walks it forward, leaves the state before
every few steps in a scratch of its own, and walks it back. Of the forward pass only the states before chunks are kept.

A program holds the states of some channels as (n e), the channels over its threads, so that a sum over n takes no
exchange between threads. `zero` is an offset of nothing: added twice, it hides from the compiler how well states are
aligned, and so everything has two channels a thread and nothing is moved between layouts.

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


@triton.jit(do_not_specialize=["zero"])
def walk(
    u, delta, z, B, C, rates, D, bias, since, first, y, last, ends, sums,
    length, channels, chunk, zero, u_row, delta_row, z_row, bc_row, y_row,
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
    grid = n[:, None] * channels + e[None, :] + 2 * zero
    rate = tl.load(rates + grid, both, 0.0)
    shift = tl.load(bias + e, here, 0.0)
    at_chunk = (row * chunks + part) * N * channels
    if SUMMARY:
        h = tl.zeros((NP, E), tl.float32)
        total = tl.zeros((E,), tl.float32)
    else:
        h = tl.load(first + at_chunk + grid, both, 0.0)
        skip = tl.load(D + e, here, 0.0)
    at = row * length + part * chunk
    u, delta, B = u + at * u_row, delta + at * delta_row, B + at * bc_row
    if not SUMMARY:
        z, y, C = z + at * z_row, y + at * y_row, C + at * bc_row
    for t in range(tl.minimum(length - part * chunk, chunk)):
        x = tl.load(u + (t * u_row + e), here, 0.0).to(tl.float32)
        dt = softplus(tl.load(delta + (t * delta_row + e), here, 0.0).to(tl.float32) + shift)
        b = tl.load(B + (t * bc_row + n), n < N, 0.0).to(tl.float32)
        if STARTS:
            fresh = tl.load(since + (at + t)) == 0
            h = tl.where(fresh, 0.0, h)
        h = tl.exp2(dt[None, :] * rate) * h + (dt * x)[None, :] * b[:, None]
        if SUMMARY:
            total = tl.where(total < 0.0, total, total + dt)
            if STARTS:
                total = tl.where(fresh, -1.0, total)
        else:
            c = tl.load(C + (t * bc_row + n), n < N, 0.0).to(tl.float32)
            gate = tl.load(z + (t * z_row + e), here, 0.0).to(tl.float32)
            out = (tl.sum(h * c[:, None], 0) + skip * x) * gate * sigmoid(gate)
            tl.store(y + (t * y_row + e), out, here)
    if SUMMARY:
        tl.store(ends + at_chunk + grid, h, both)
        tl.store(sums + (row * chunks + part) * channels + e, total, here)
    else:
        if part == chunks - 1:
            tl.store(last + (row * channels + e[None, :]) * N + n[:, None], h, both)


@triton.jit
def combine(
    ends, sums, rates, given, channels, chunks,
    N: tl.constexpr, E: tl.constexpr, AHEAD: tl.constexpr, BACK: tl.constexpr, GIVEN: tl.constexpr,
):  # fmt: skip
    """Turns `ends` (b c n e) of zero states into what comes before each chunk (BACK: behind it), in place; one state
    dimension of E channels a program, AHEAD chunks read at once.

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
    for i in range(0, chunks, AHEAD):
        own, total = (), ()
        for j in tl.static_range(AHEAD):
            part = i + j
            if BACK:
                part = chunks - 1 - i - j
            there = e < tl.where(i + j < chunks, channels, 0)
            own = own + (tl.load(ends + ((row * chunks + part) * N + n) * channels + e, there, 0.0),)
            total = total + (tl.load(sums + (row * chunks + part) * channels + e, there, 0.0),)
        for j in tl.static_range(AHEAD):
            part = i + j
            if BACK:
                part = chunks - 1 - i - j
            there = e < tl.where(i + j < chunks, channels, 0)
            tl.store(ends + ((row * chunks + part) * N + n) * channels + e, h, there)
            h = tl.where(total[j] < 0.0, 0.0, tl.exp2(total[j] * rate) * h) + own[j]


@triton.jit(do_not_specialize=["zero"])
def walk_back(
    grad_y, delta, z, C, rates, bias, since, ends, sums,
    length, channels, chunk, zero, grad_row, delta_row, z_row, bc_row,
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
    grid = n[:, None] * channels + e[None, :] + 2 * zero
    rate = tl.load(rates + grid, both, 0.0)
    shift = tl.load(bias + e, here, 0.0)
    q = tl.zeros((NP, E), tl.float32)
    total = tl.zeros((E,), tl.float32)
    at = row * length + part * chunk
    grad_y, delta, z, C = grad_y + at * grad_row, delta + at * delta_row, z + at * z_row, C + at * bc_row
    count = tl.minimum(length - part * chunk, chunk)
    for i in range(count):
        t = count - 1 - i
        dt = softplus(tl.load(delta + (t * delta_row + e), here, 0.0).to(tl.float32) + shift)
        gate = tl.load(z + (t * z_row + e), here, 0.0).to(tl.float32)
        dy = tl.load(grad_y + (t * grad_row + e), here, 0.0).to(tl.float32) * gate * sigmoid(gate)
        c = tl.load(C + (t * bc_row + n), n < N, 0.0).to(tl.float32)
        q = tl.exp2(dt[None, :] * rate) * (q + dy[None, :] * c[:, None])
        total = tl.where(total < 0.0, total, total + dt)
        if STARTS:
            fresh = tl.load(since + (at + t)) == 0
            q = tl.where(fresh, 0.0, q)
            total = tl.where(fresh, -1.0, total)
    tl.store(ends + (row * chunks + part) * N * channels + grid, q, both)
    tl.store(sums + (row * chunks + part) * channels + e, total, here)


@triton.jit(do_not_specialize=["zero"])
def differentiate(
    grad_y, u, delta, z, B, C, rates, D, bias, since, first, behind, scratch,
    grad_u, grad_delta, grad_z, grad_B, grad_C, grad_A, grad_D, grad_bias, grad_before,
    batch, length, channels, chunk, zero, grad_row, u_row, delta_row, z_row, bc_row, grad_z_row,
    N: tl.constexpr, NP: tl.constexpr, E: tl.constexpr, T: tl.constexpr, STARTS: tl.constexpr, DOTS: tl.constexpr,
):  # fmt: skip
    """All gradients, one chunk of E channels of one row after the other.

    `behind` (b c n e) is what later chunks want of each chunk's last state. `grad_B` and `grad_C` (parts b l n) have a
    part per block of channels, `grad_A` (b c n e), `grad_D` and `grad_bias` (b c e) one per chunk. `scratch` holds for
    each program the states before every T steps of a chunk. DOTS: sums over channels are made on the matrix units, of
    numbers in the input's 16 bits.
    """
    n = tl.arange(0, NP)
    there = n < N
    chunks, parts = (length + chunk - 1) // chunk, (channels + E - 1) // E
    own = scratch + 2 * zero + tl.program_id(0).to(tl.int64) * (chunk // T) * NP * E
    own += n[:, None] * E + tl.arange(0, E)[None, :]
    if DOTS:
        ones = tl.full((E, 16), 1.0, tl.float32).to(u.dtype.element_ty)
        columns = tl.arange(0, 16)[None, :]
    for work in range(tl.program_id(0), parts * chunks * batch, tl.num_programs(0)):
        block = work % parts
        part = work // parts % chunks
        row = (work // parts // chunks).to(tl.int64)
        e = block * E + tl.arange(0, E)
        here = e < channels
        both = there[:, None] & here[None, :]
        grid = n[:, None] * channels + e[None, :] + 2 * zero
        rate = tl.load(rates + grid, both, 0.0)
        shift = tl.load(bias + e, here, 0.0)
        skip = tl.load(D + e, here, 0.0)
        at_chunk = (row * chunks + part) * N * channels
        begin = part * chunk
        count = tl.minimum(length - begin, chunk)  # steps of this chunk
        tiles = (count + T - 1) // T
        at = row * length + begin
        u_at, delta_at, z_at, grad_at = u + at * u_row, delta + at * delta_row, z + at * z_row, grad_y + at * grad_row
        B_at, C_at, since_at = B + at * bc_row, C + at * bc_row, since
        if STARTS:
            since_at = since + at
        at_part = ((block * batch + row) * length + begin) * N
        h = tl.load(first + at_chunk + grid, both, 0.0)
        for tile in range(tiles):
            tl.store(own + tile * NP * E, h)
            for t in range(tile * T, tl.minimum(count, tile * T + T)):
                x = tl.load(u_at + (t * u_row + e), here, 0.0).to(tl.float32)
                dt = softplus(tl.load(delta_at + (t * delta_row + e), here, 0.0).to(tl.float32) + shift)
                b = tl.load(B_at + (t * bc_row + n), there, 0.0).to(tl.float32)
                if STARTS:
                    h = tl.where(tl.load(since_at + t) == 0, 0.0, h)
                h = tl.exp2(dt[None, :] * rate) * h + (dt * x)[None, :] * b[:, None]
        tl.debug_barrier()
        q = tl.load(behind + at_chunk + grid, both, 0.0)
        d_A = tl.zeros((NP, E), tl.float32)
        d_D = tl.zeros((E,), tl.float32)
        d_bias = tl.zeros((E,), tl.float32)
        for i in range(tiles):
            tile = tiles - 1 - i
            h = tl.load(own + tile * NP * E)
            states = ()
            for j in tl.static_range(T):
                t = tile * T + j
                live = e < tl.where(t < count, channels, 0)  # behind the end nothing changes
                x = tl.load(u_at + (t * u_row + e), live, 0.0).to(tl.float32)
                raw = tl.load(delta_at + (t * delta_row + e), live, 0.0).to(tl.float32) + shift
                dt = tl.where(live, softplus(raw), 0.0)
                b = tl.load(B_at + (t * bc_row + n), n < tl.where(t < count, N, 0), 0.0).to(tl.float32)
                if STARTS:
                    h = tl.where(tl.load(since_at + t, t < count, 1) == 0, 0.0, h)
                h = tl.exp2(dt[None, :] * rate) * h + (dt * x)[None, :] * b[:, None]
                states = states + (h,)
            for k in tl.static_range(T):
                t = tile * T + (T - 1 - k)
                live = e < tl.where(t < count, channels, 0)
                some = n < tl.where(t < count, N, 0)
                x = tl.load(u_at + (t * u_row + e), live, 0.0).to(tl.float32)
                raw = tl.load(delta_at + (t * delta_row + e), live, 0.0).to(tl.float32) + shift
                dt = tl.where(live, softplus(raw), 0.0)
                gate = tl.load(z_at + (t * z_row + e), live, 0.0).to(tl.float32)
                coming = tl.load(grad_at + (t * grad_row + e), live, 0.0).to(tl.float32)
                b = tl.load(B_at + (t * bc_row + n), some, 0.0).to(tl.float32)[:, None]
                c = tl.load(C_at + (t * bc_row + n), some, 0.0).to(tl.float32)[:, None]
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
                    to = (t * N + n)[:, None] + columns
                    one = some[:, None] & (columns == 0)  # all columns are the same
                    tl.store(grad_B + at_part + to, tl.dot(of_b.to(u.dtype.element_ty), ones), one)
                    tl.store(grad_C + at_part + to, tl.dot(of_c.to(u.dtype.element_ty), ones), one)
                else:
                    tl.store(grad_B + at_part + (t * N + n), tl.sum(of_b, 1), some)
                    tl.store(grad_C + at_part + (t * N + n), tl.sum(of_c, 1), some)
                d_gate = coming * out * opened * (1.0 + gate * (1.0 - opened))
                tl.store(grad_z + at * grad_z_row + (t * grad_z_row + e), d_gate, live)
                tl.store(grad_u + at * channels + (t * channels + e), d_drive * dt + skip * dy, live)
                tl.store(grad_delta + at * channels + (t * channels + e), d_raw, live)
                q = tl.exp2(dt[None, :] * rate) * g  # made again: kept, the decays would not fit into the registers
                if STARTS:
                    q = tl.where(tl.load(since_at + t, t < count, 1) == 0, 0.0, q)
        tl.store(grad_A + at_chunk + grid, d_A, both)
        tl.store(grad_D + (row * chunks + part) * channels + e, d_D, here)
        tl.store(grad_bias + (row * chunks + part) * channels + e, d_bias, here)
        if part == 0:
            tl.store(grad_before + (row * channels + e[None, :]) * N + n[:, None], q, both)
        tl.debug_barrier()
