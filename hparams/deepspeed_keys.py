"""What `deepspeed.*` may hold, since DeepSpeed itself ignores a misspelt key, or a misplaced rate, in silence.

Source: the DeepSpeed configuration reference, version 0.19.
"""

from collections.abc import Mapping
from typing import Any

from core.errors import HubError
from core.names import did_you_mean

# Keys that the hub fills from its own, or whose work it does itself: two masters of one thing would disagree.
OWNED = {
    "train_batch_size": "data.batch_size",
    "train_micro_batch_size_per_gpu": "data.batch_size",
    "gradient_accumulation_steps": "train.accumulate",
    "gradient_clipping": "train.clip",
    "torch_autocast": "train.precision",
    "fp16": "train.precision",
    "amp": "train.precision",
    "scheduler": "train.lr, train.warmup and train.lr_floor",
    "optimizer.params.lr": "train.lr",
    "optimizer.params.weight_decay": "train.weight_decay",
}

# Keys that write anywhere on the disk, or send figures away: no file of hyper-parameters may do that unasked.
ELSEWHERE = ("csv_monitor", "flops_profiler.output_file", "monitor_config", "tensorboard", "wandb")

# fmt: off
TOP_LEVEL_KEYS = frozenset([
    "activation_checkpointing", "aio", "amp", "autotuning", "bf16", "checkpoint", "comms_logger",
    "communication_data_type", "compile", "compression_training", "csv_monitor", "curriculum_learning",
    "data_efficiency", "data_types", "dataloader_drop_last", "disable_allgather", "dump_state", "eigenvalue",
    "elasticity", "expert_parallel", "flops_profiler", "fp16", "fp32_allreduce", "gradient_accumulation_steps",
    "gradient_allreduce_op", "gradient_clipping", "gradient_predivide_factor", "graph_harvesting",
    "hybrid_engine", "keep_in_fp32_modules", "memory_breakdown", "monitor_config", "nebula", "optimizer",
    "pipeline", "prescale_gradients", "progressive_layer_drop", "quantize_training", "scheduler",
    "seq_parallel_communication_data_type", "sparse_attention", "sparse_gradients", "steps_per_print",
    "tensor_parallel", "tensorboard", "timers", "torch_autocast", "train_batch_size",
    "train_micro_batch_size_per_gpu", "use_data_before_expert_parallelism", "use_node_local_storage",
    "vocabulary_size", "wall_clock_breakdown", "wandb", "weight_quantization", "zero_allow_untested_optimizer",
    "zero_force_ds_cpu_optimizer", "zero_optimization",
])


def check(settings: Mapping[str, Any]) -> None:
    """HubError for a key of `deepspeed.*` that DeepSpeed does not know, the hub fills, or that writes elsewhere."""
    for key in settings:
        if key not in TOP_LEVEL_KEYS:
            raise HubError(f'DeepSpeed knows no key "{key}" (deepspeed.{key}).{did_you_mean(key, TOP_LEVEL_KEYS)}')
    for key, own in OWNED.items():
        if _given(settings, key) is not None:
            raise HubError(f"deepspeed.{key} is filled by the hub; set {own} instead")
    for key in ELSEWHERE:
        if _given(settings, key) is not None:
            raise HubError(
                f"deepspeed.{key} writes outside of the run's folder; leave it away, as "
                "metrics.jsonl and tensorboard/ tell how a run went"
            )


def _given(settings: Mapping[str, Any], key: str) -> Any:
    """The value of a dotted key; None where there is none."""
    tree: Any = settings
    for part in key.split("."):
        tree = tree.get(part) if isinstance(tree, Mapping) else None
    return tree
