"""What kernels share: the steps of a row, read ahead of their use, and activations.

Shapes: b batch, l length, e channels.
"""

import triton
import triton.language as tl


@triton.jit
def softplus(x):
    """log(1 + exp(x)), to the last bits also where it is small: 2 artanh(s) for s = exp(-|x|) / (2 + exp(-|x|))."""
    small = tl.exp2(tl.abs(x) * -1.4426950408889634)
    s = small / (2.0 + small)
    q = s * s
    series = 0.1111111111 + q * (0.0909090909 + q * 0.0769230769)
    series = 1.0 + q * (0.3333333333 + q * (0.2 + q * (0.1428571429 + q * series)))
    return tl.maximum(x, 0.0) + 2.0 * s * series


@triton.jit
def sigmoid(x):
    """1 / (1 + exp(-x))."""
    return 1.0 / (1.0 + tl.exp2(x * -1.4426950408889634))


@triton.jit
def steps(p, stride, e, here, begin, count, t, T: tl.constexpr, BACK: tl.constexpr):
    """T steps (e) of a row's `count` from `begin`, as they lie in memory: from the t-th on, BACK: from the t-th last;
    one beyond them is the last once more."""
    found = ()
    for j in tl.static_range(T):
        at = tl.minimum(t + j, count - 1)
        if BACK:
            at = count - 1 - at
        found = found + (tl.load(p + (begin + at).to(tl.int64) * stride + e, here, 0.0),)
    return found


@triton.jit
def ages(since, begin, count, t, T: tl.constexpr, BACK: tl.constexpr):
    """Steps since the piece's start of each of T steps, as `steps` finds them; of one beyond them 1."""
    found = ()
    for j in tl.static_range(T):
        at = t + j
        if BACK:
            at = count - 1 - at
        found = found + (tl.load(since + (begin + at), t + j < count, 1),)
    return found
