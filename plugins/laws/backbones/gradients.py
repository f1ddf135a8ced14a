"""Laws of gradients and of number formats.

Shapes: b batch, l length, d model width.
"""

from collections.abc import Iterator
from typing import Any

import torch

from plugins.laws.backbones.measures import equal, law
from plugins.laws.backbones.subject import Size, Subject, apply
from plugins.laws.law import Finding, Skipped, verdict

# Central differences in float64 with this step are right to about ten digits; a wrong gradient is wrong in the first.
# Where such a step crosses a kink, as of ReLU, a smaller one seldom does.
STEP, SMALLER_STEP, TRUE_WITHIN = 1e-5, 4e-7, 1e-6
# By the type under examination; float64 examines float32, and kernels of a GPU are examined in float32.
LOWER = {torch.float64: 1e-4, torch.float32: 1e-3, torch.float16: 5e-2, torch.bfloat16: 1e-1}

# Of products in bfloat16 beside float32, whatever is examined; ours stay within 0.04 (measured, all backbones).
AUTOCAST = 2e-1


@law("every parameter gets a gradient")
def every_parameter(subject: Subject, size: Size) -> Iterator[Finding]:
    with torch.enable_grad():
        x = subject.x(*size).requires_grad_()
        loss = (apply(subject.plain, x)[0] * subject.x(*size, "weight")).sum()
        named = {name: value for name, value in subject.plain.named_parameters() if value.requires_grad}
        found = torch.autograd.grad(loss, [x, *named.values()], allow_unused=True)
    for name, gradient in zip(["x", *named], found, strict=True):
        reached = gradient is not None and bool(torch.isfinite(gradient).all()) and bool((gradient != 0).any())
        yield verdict(f"{name} gets {'none' if gradient is None else 'zero or no finite gradient'}", reached)


@law("gradient is true", within=TRUE_WITHIN)
def gradient_is_true(subject: Subject, size: Size) -> Iterator[Finding]:
    """Compares the gradient along one random direction of each tensor with central differences."""
    if subject.dtype != torch.float64:
        raise Skipped(f"finite differences need float64, not {subject.dtype}")
    size = Size(min(size.batch, 2), min(size.length, 9))
    weight = subject.x(*size, "weight")
    starts = torch.zeros(size, dtype=torch.bool, device=subject.device)
    starts[-1, size.length // 2] = True
    for how, mask in (("", None), (", packed", starts)) if subject.packs else (("", None),):
        x = subject.x(*size)
        with torch.enable_grad():
            x.requires_grad_()
            named = {"x": x, **{key: value for key, value in subject.plain.named_parameters() if value.requires_grad}}
            loss = (apply(subject.plain, x, None, mask)[0] * weight).sum()
            gradients = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
        largest = max(float(gradient.norm()) for gradient in gradients if gradient is not None)
        drawn = torch.Generator().manual_seed(0)
        for (name, tensor), gradient in zip(named.items(), gradients, strict=True):
            direction = torch.randn(tensor.shape, generator=drawn, dtype=torch.float64).to(tensor)
            direction /= direction.norm()
            given = 0.0 if gradient is None else float((gradient * direction).sum())
            for step in (STEP, SMALLER_STEP):
                sides = []
                for sign in (step, -2 * step, step):  # there, across to the other side, and back
                    tensor.data.add_(sign * direction)
                    sides.append(float((apply(subject.plain, x.detach(), None, mask)[0] * weight).sum()))
                numeric = (sides[0] - sides[1]) / (2 * step)
                scale = max(abs(numeric), abs(given), 1e-3 * largest)
                if abs(numeric - given) <= TRUE_WITHIN * scale:
                    break
            what = f"along {name}{how} the gradient is {given:.6g}, finite differences say {numeric:.6g}"
            yield Finding(what, abs(numeric - given) / scale)


@law("lower precision equals float64", within=LOWER)
def lower_precision(subject: Subject, size: Size) -> Iterator[Finding]:
    dtype = torch.float32 if subject.dtype == torch.float64 else subject.dtype
    low = subject.again(0.5, 0).to(dtype).eval()
    reference = Subject(subject.build, subject.hparams, "cpu", torch.float64)
    x = subject.x(*size).to(dtype)
    found = apply(low, x)[0]
    yield equal(f"{dtype} differs from float64 on the CPU", found, reference.hidden(x.cpu().double()).to(x.device))


@law("finite in bfloat16")
def finite_in_bfloat16(subject: Subject, size: Size) -> Iterator[Finding]:
    low = subject.again(0.0, 0).to(torch.bfloat16).train()
    init_state: Any = low.init_state
    fresh = init_state(*size)
    x = (4 * subject.x(*size)).to(torch.bfloat16)
    with torch.enable_grad():
        hidden = apply(low, x)[0]
        hidden.float().pow(2).sum().backward()
    yield verdict(f"hidden is {hidden.dtype}; expected bfloat16", hidden.dtype == torch.bfloat16)
    yield verdict("hidden is not finite", bool(torch.isfinite(hidden).all()))
    for name, parameter in low.named_parameters():
        if parameter.grad is not None:
            yield verdict(f"gradient of {name} is not finite", bool(torch.isfinite(parameter.grad).all()))
    stepped, _ = apply(low.eval(), x, fresh)
    yield verdict("hidden with a state is not finite", bool(torch.isfinite(stepped).all()))


@law("trains with products in bfloat16", within=AUTOCAST)
def products_in_bfloat16(subject: Subject, size: Size) -> Iterator[Finding]:
    """As training in bf16: weights in float32, products cast (torch.autocast), and near float32 all the same."""
    model = subject.again(0.0, 0).float().train()
    x, weight = subject.x(*size).float(), subject.x(*size, "weight").float()
    named = {name: value for name, value in model.named_parameters() if value.requires_grad}
    found = []
    for enabled in (False, True):
        with torch.enable_grad():
            with torch.autocast(x.device.type, torch.bfloat16, enabled):
                hidden = apply(model, x)[0]
            loss = (hidden.float() * weight).sum()
            gradients = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
        told = [gradient.float().flatten() for gradient in gradients if gradient is not None]
        found.append((hidden.detach().float(), torch.cat(told or [x.new_zeros(1)])))
    (expected, slopes), (hidden, cast) = found
    yield equal("hidden differs from float32's", hidden, expected)
    yield Finding("the gradients differ from float32's", float((cast - slopes).norm() / slopes.norm().clamp(min=1e-30)))
