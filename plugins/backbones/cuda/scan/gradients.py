"""The selective scan in Triton, backward: every gradient, from the states before the chunks.

What later steps want of a segment's last state is found as forward (walks.py): a walk back from a want of zero,
`combine`, and then `differentiate` has all it needs. It takes the chunks of a segment from the last to the first, walks
each forward, leaves the state before every few steps in a scratch of its own, and walks it back.

Shapes: b batch, l length, e channels, n state dimensions, s segments, c chunks.
Source: Gu & Dao, arXiv 2312.00752, section 3.3 and appendix C.
"""

import triton
import triton.language as tl

from plugins.backbones.cuda.rows import ages, sigmoid, softplus, steps
from plugins.backbones.cuda.scan.walks import block_of


@triton.jit(do_not_specialize=["zero"])
def walk_back(
    grad_y, delta, z, C, rates, bias, since, ends, sums,
    length, channels, segment, zero, grad_row, delta_row, z_row, bc_row,
    N: tl.constexpr, NP: tl.constexpr, E: tl.constexpr, T: tl.constexpr, STARTS: tl.constexpr,
):  # fmt: skip
    """One segment back in time from a want of zero: what each step's past state is worth,
    q_t = a_t (C_t dy_t + q_(t+1)).

    `ends` (b s n e) gets q before the segment, `sums` (b s e) what it has in `walk`; of the first nobody asks for it.
    """
    part, row = tl.program_id(1) + 1, tl.program_id(2).to(tl.int64)
    n = tl.arange(0, NP)
    e, here, there, grid, both, rate, shift = block_of(tl.program_id(0), channels, rates, bias, zero, N, NP, E)
    own = row * ((length + segment - 1) // segment) + part
    q = tl.zeros((NP, E), tl.float32)
    total = tl.zeros((E,), tl.float32)
    grad_y, delta = grad_y + row * length * grad_row, delta + row * length * delta_row
    z, C = z + row * length * z_row, C + row * length * bc_row
    if STARTS:
        since += row * length
    begin = part * segment
    count = tl.minimum(length - begin, segment)
    gs = steps(grad_y, grad_row, e, here, begin, count, 0, T, True)
    ds = steps(delta, delta_row, e, here, begin, count, 0, T, True)
    zs = steps(z, z_row, e, here, begin, count, 0, T, True)
    fs = gs  # a loop carries what is there before it
    if STARTS:
        fs = ages(since, begin, count, 0, T, True)
    for t in range(0, count, T):
        g_now, d_now, z_now, f_now = gs, ds, zs, fs
        gs = steps(grad_y, grad_row, e, here, begin, count, t + T, T, True)
        ds = steps(delta, delta_row, e, here, begin, count, t + T, T, True)
        zs = steps(z, z_row, e, here, begin, count, t + T, T, True)
        if STARTS:
            fs = ages(since, begin, count, t + T, T, True)
        for j in tl.static_range(T):
            near = (begin + count - 1 - tl.minimum(t + j, count - 1)).to(tl.int64) * bc_row
            dt = softplus(d_now[j].to(tl.float32) + shift)
            gate = z_now[j].to(tl.float32)
            dy = g_now[j].to(tl.float32) * gate * sigmoid(gate)
            if j > 0:  # beyond the begin nothing changes
                dt, dy = tl.where(t + j < count, dt, 0.0), tl.where(t + j < count, dy, 0.0)
            c = tl.load(C + near + n, there, 0.0).to(tl.float32)
            q = tl.exp2(dt[None, :] * rate) * (q + dy[None, :] * c[:, None])
            total = tl.where(total < 0.0, total, total + dt)
            if STARTS:
                q = tl.where(f_now[j] == 0, 0.0, q)
                total = tl.where(f_now[j] == 0, -1.0, total)
    tl.store(ends + own * N * channels + grid, q, both)
    tl.store(sums + own * channels + e, total, here)


@triton.jit(do_not_specialize=["zero"])
def differentiate(
    grad_y, u, delta, z, B, C, rates, D, bias, since, first, behind, scratch,
    grad_u, grad_delta, grad_z, grad_B, grad_C, grad_A, grad_D, grad_bias, grad_before,
    batch, length, channels, segment, chunk, zero, grad_row, u_row, delta_row, z_row, bc_row, grad_z_row,
    N: tl.constexpr, NP: tl.constexpr, E: tl.constexpr, T: tl.constexpr, STARTS: tl.constexpr, DOTS: tl.constexpr,
):  # fmt: skip
    """All gradients, one segment of E channels of one row after the other.

    `behind` (b s n e) is what later segments want of each segment's last state. `grad_B` and `grad_C` (parts b l n)
    have a part per block of channels, `grad_A` (b s n e), `grad_D` and `grad_bias` (b s e) one per segment. `scratch`
    holds for each program the states before every T steps of a chunk. DOTS: sums over channels are made on the matrix
    units, of numbers in the input's 16 bits.
    """
    n = tl.arange(0, NP)
    chunks, segments = (length + chunk - 1) // chunk, (length + segment - 1) // segment
    parts = (channels + E - 1) // E
    own = scratch + 2 * zero + tl.program_id(0).to(tl.int64) * (chunk // T) * NP * E
    own += n[:, None] * E + tl.arange(0, E)[None, :]
    if DOTS:
        ones = tl.full((E, 16), 1.0, tl.float32).to(u.dtype.element_ty)
        columns = tl.arange(0, 16)[None, :]
    for work in range(tl.program_id(0), parts * segments * batch, tl.num_programs(0)):
        block = work % parts
        part = work // parts % segments
        row = (work // parts // segments).to(tl.int64)
        e, here, there, grid, both, rate, shift = block_of(block, channels, rates, bias, zero, N, NP, E)
        skip = tl.load(D + e, here, 0.0)
        at_segment = row * segments + part
        q = tl.load(behind + at_segment * N * channels + grid, both, 0.0)
        d_A = tl.zeros((NP, E), tl.float32)
        d_D = tl.zeros((E,), tl.float32)
        d_bias = tl.zeros((E,), tl.float32)
        low = part * segment // chunk
        high = tl.minimum(chunks, low + segment // chunk)
        for i in range(high - low):
            number = high - 1 - i
            begin = number * chunk
            count = tl.minimum(length - begin, chunk)  # steps of this chunk
            tiles = (count + T - 1) // T
            at = row * length + begin
            u_at, delta_at, z_at = u + at * u_row, delta + at * delta_row, z + at * z_row
            grad_at, B_at, C_at, since_at = grad_y + at * grad_row, B + at * bc_row, C + at * bc_row, since
            if STARTS:
                since_at = since + at
            at_part = ((block * batch + row) * length + begin) * N
            h = tl.load(first + (row * chunks + number) * N * channels + grid, both, 0.0)
            us = steps(u_at, u_row, e, here, 0, count, 0, T, False)
            ds = steps(delta_at, delta_row, e, here, 0, count, 0, T, False)
            zs = steps(z_at, z_row, e, here, 0, count, 0, T, False)
            gs = steps(grad_at, grad_row, e, here, 0, count, 0, T, False)
            fs = us  # a loop carries what is there before it
            if STARTS:
                fs = ages(since_at, 0, count, 0, T, False)
            for tile in range(tiles):
                tl.store(own + tile * NP * E, h)
                u_now, d_now, z_now, g_now, f_now = us, ds, zs, gs, fs
                later = tile * T + T
                us = steps(u_at, u_row, e, here, 0, count, later, T, False)
                ds = steps(delta_at, delta_row, e, here, 0, count, later, T, False)
                zs = steps(z_at, z_row, e, here, 0, count, later, T, False)
                gs = steps(grad_at, grad_row, e, here, 0, count, later, T, False)
                if STARTS:
                    fs = ages(since_at, 0, count, later, T, False)
                for j in tl.static_range(T):
                    t = tile * T + j
                    x, dt = u_now[j].to(tl.float32), softplus(d_now[j].to(tl.float32) + shift)
                    gate = z_now[j].to(tl.float32)
                    dy = g_now[j].to(tl.float32) * gate * sigmoid(gate)
                    if j > 0:  # behind the end nothing changes
                        dt, dy = tl.where(t < count, dt, 0.0), tl.where(t < count, dy, 0.0)
                    d_D += dy * x  # here, so that the walk back finds gates and gradients in the cache
                    b = tl.load(B_at + (tl.minimum(t, count - 1) * bc_row + n), there, 0.0).to(tl.float32)
                    if STARTS:
                        h = tl.where(f_now[j] == 0, 0.0, h)
                    h = tl.exp2(dt[None, :] * rate) * h + (dt * x)[None, :] * b[:, None]
            tl.debug_barrier()
            for behind_it in range(tiles):
                tile = tiles - 1 - behind_it
                h = tl.load(own + tile * NP * E)
                states, dts = (h,), ()
                for j in tl.static_range(T):
                    t = tile * T + j
                    live = e < tl.where(t < count, channels, 0)
                    x = tl.load(u_at + (t * u_row + e), live, 0.0).to(tl.float32)
                    raw = tl.load(delta_at + (t * delta_row + e), live, 0.0).to(tl.float32) + shift
                    dt = tl.where(live, softplus(raw), 0.0)
                    b = tl.load(B_at + (t * bc_row + n), n < tl.where(t < count, N, 0), 0.0).to(tl.float32)
                    if STARTS:
                        h = tl.where(tl.load(since_at + t, t < count, 1) == 0, 0.0, h)
                    h = tl.exp2(dt[None, :] * rate) * h + (dt * x)[None, :] * b[:, None]
                    states, dts = states + (h,), dts + (dt,)
                for k in tl.static_range(T):
                    t = tile * T + (T - 1 - k)
                    live = e < tl.where(t < count, channels, 0)
                    some = n < tl.where(t < count, N, 0)
                    x = tl.load(u_at + (t * u_row + e), live, 0.0).to(tl.float32)
                    raw = tl.load(delta_at + (t * delta_row + e), live, 0.0).to(tl.float32) + shift
                    dt = dts[T - 1 - k]
                    gate = tl.load(z_at + (t * z_row + e), live, 0.0).to(tl.float32)
                    coming = tl.load(grad_at + (t * grad_row + e), live, 0.0).to(tl.float32)
                    b = tl.load(B_at + (t * bc_row + n), some, 0.0).to(tl.float32)[:, None]
                    c = tl.load(C_at + (t * bc_row + n), some, 0.0).to(tl.float32)[:, None]
                    opened = sigmoid(gate)
                    dy = coming * gate * opened
                    drive = dt * x
                    g = q + dy[None, :] * c
                    q = tl.exp2(dt[None, :] * rate) * g  # made again: kept, the decays would not fit into the registers
                    if STARTS:
                        q = tl.where(tl.load(since_at + t, t < count, 1) == 0, 0.0, q)
                    if k < T - 1:
                        through = q * states[T - 1 - k]  # of the decay's exponent
                    else:
                        through = q * tl.load(own + tile * NP * E)  # read again: kept, it would not either
                    out = tl.sum(states[T - k] * c, 0) + skip * x
                    d_dt = tl.sum(through * rate, 0) * 0.6931471805599453
                    d_drive = tl.sum(g * b, 0)
                    d_A += through * dt[None, :]
                    d_raw = (d_dt + d_drive * x) * sigmoid(raw)
                    d_bias += tl.where(live, d_raw, 0.0)
                    of_b, of_c = g * drive[None, :], states[T - k] * dy[None, :]
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
            tl.debug_barrier()
        tl.store(grad_A + at_segment * N * channels + grid, d_A, both)
        tl.store(grad_D + at_segment * channels + e, d_D, here)
        tl.store(grad_bias + at_segment * channels + e, d_bias, here)
        if part == 0:
            tl.store(grad_before + (row * channels + e[None, :]) * N + n[:, None], q, both)
