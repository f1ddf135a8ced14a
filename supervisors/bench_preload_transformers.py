"""As `bench_preload`, where peers of `transformers` are measured: it takes longer to import than all else together."""

import contextlib

import supervisors.bench_preload  # noqa: F401

with contextlib.suppress(Exception):  # a broken installation is said where the peer is built
    import transformers.models.llama.modeling_llama
    import transformers.models.mamba.modeling_mamba  # noqa: F401
