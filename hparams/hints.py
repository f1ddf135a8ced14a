"""What a person may have meant by a key that there is not: by its last part, by what others call it, by spelling."""

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches

Having = Callable[[str], Mapping[str, list[str]]]  # a key -> dotted keys that it stands for -> plugins that have it

# What other tools call a thing -> its key here. The value is a key, or a sentence where no key will do.
MEANINGS = {
    **dict.fromkeys(("learning_rate", "max_lr", "base_lr", "eta"), "train.lr"),
    **dict.fromkeys(("max_steps", "num_steps", "n_steps", "iterations", "iters", "max_iters"), "train.steps"),
    **dict.fromkeys(("warmup_steps", "warmup_iters", "num_warmup_steps", "warmup_ratio"), "train.warmup"),
    **dict.fromkeys(("adam_beta1", "adam_beta2", "beta1", "beta2"), "train.betas"),
    **dict.fromkeys(("report_to", "wandb", "wandb_project", "logger", "logger_name"), "train.trackers"),
    **dict.fromkeys(("min_lr", "lr_min"), "train.lr_floor"),
    **dict.fromkeys(("grad_clip", "max_grad_norm", "clip_grad", "gradient_clip_val"), "train.clip"),
    **dict.fromkeys(
        ("gradient_accumulation_steps", "accumulate_grad_batches", "grad_accum", "accumulation"), "train.accumulate"
    ),
    **dict.fromkeys(("fp16", "bf16", "amp", "dtype", "mixed_precision"), "train.precision"),
    **dict.fromkeys(("early_stopping", "early_stop"), "train.patience"),
    **dict.fromkeys(
        ("bs", "batch", "train_batch_size", "micro_batch_size", "global_batch_size", "per_device_batch_size"),
        "data.batch_size",
    ),
    "per_device_train_batch_size": "data.batch_size",
    **dict.fromkeys(
        ("seq_len", "seq_length", "sequence_length", "max_seq_len", "max_seq_length", "context_length", "block_size"),
        "data.length",
    ),
    "max_length": "data.length",
    **dict.fromkeys(("num_workers", "n_workers"), "data.workers"),
    **dict.fromkeys(("transposition", "pitch_shift"), "data.augment.transpose"),
    **dict.fromkeys(
        ("d_model", "hidden_size", "n_embd", "embed_dim", "model_dim", "hidden_dim", "width"), "backbone.dim"
    ),
    **dict.fromkeys(("n_layers", "num_layers", "n_layer", "num_hidden_layers", "depth"), "backbone.layers"),
    **dict.fromkeys(("n_heads", "num_heads", "n_head", "num_attention_heads"), "backbone.heads"),
    **dict.fromkeys(("dropout_rate", "p_dropout", "drop"), "backbone.dropout"),
    **dict.fromkeys(("vocab_size", "vocabulary_size", "bpe_size"), "tokenizer.bpe"),
    **dict.fromkeys(("max_tokens", "max_new_tokens", "gen_length", "num_tokens"), "generate.length"),
    **dict.fromkeys(("num_samples", "n_samples", "num_outputs", "samples", "n"), "generate.count"),
    **dict.fromkeys(("prime", "primer", "primer_midi", "seed_file", "prompt_file", "input"), "generate.prompt"),
    **dict.fromkeys(("eval_every", "eval_interval", "val_every", "eval_steps", "eval_strategy"), "evaluate.every"),
    "evaluation_strategy": "evaluate.every",
    **dict.fromkeys(("limit", "num_eval_samples"), "evaluate.count"),
    **dict.fromkeys(("save_every", "save_interval", "save_steps", "save_strategy", "ckpt_every"), "checkpoint.every"),
    **dict.fromkeys(("save_total_limit", "save_top_k", "max_to_keep"), "checkpoint.keep"),
    **dict.fromkeys(
        ("data", "data_dir", "data_path", "dataset_path", "dataset_dir", "midi_dir", "input_dir"), "dataset.path"
    ),
    **dict.fromkeys(
        ("pretrained", "init_from", "checkpoint_path", "checkpoint_dir", "model_name_or_path", "load", "finetune"),
        "model.start",
    ),
    **dict.fromkeys(("out", "out_dir", "output", "output_dir", "save_dir", "log_dir", "run_name", "exp_name"), "name"),
    **dict.fromkeys(("model", "arch", "architecture", "model_type", "network"), "backbone"),
    **dict.fromkeys(("tokenization", "encoding", "representation"), "tokenizer"),
    **dict.fromkeys(("random_seed", "rng_seed"), "seed"),
    **dict.fromkeys(
        ("epochs", "num_epochs", "max_epochs", "n_epochs", "num_train_epochs"),
        "train.steps counts optimizer steps; 0 chooses about twenty passes over the data.",
    ),
    "train_max_tokens": "train.steps counts optimizer steps, each of data.batch_size rows of data.length tokens.",
    **dict.fromkeys(
        ("optim", "optimizer"), "AdamW trains everything: train.lr, train.betas, train.weight_decay, train.clip."
    ),
    **dict.fromkeys(
        ("lr_scheduler_type", "lr_scheduler", "scheduler", "lr_schedule"),
        "The learning rate rises over train.warmup and falls along a cosine to train.lr_floor.",
    ),
    **dict.fromkeys(
        ("logging_steps", "log_interval", "log_every"), "Every step is a line of metrics.jsonl in the run's folder."
    ),
    **dict.fromkeys(("do_train", "do_eval"), "train trains, then evaluates; evaluate --run FOLDER does that again."),
    **dict.fromkeys(
        ("do_sample", "num_beams", "beam_size", "branch_factor"),
        "Tokens are drawn one by one, without beams; generate.temperature=0 takes the likeliest.",
    ),
    "primer_melody": "generate.prompt takes a file of music.",
    **dict.fromkeys(
        ("push_to_hub", "hub_model_id"), "A run's model/ is the folder to share; nothing is uploaded by the hub."
    ),
    **dict.fromkeys(("tokenizer_dir", "tokenizer_path", "tokenizer_name"), "A run's tokenizer lies in its model/."),
    **dict.fromkeys(("tasks", "metrics"), "evaluate takes every measure that `list` shows."),
    **dict.fromkeys(
        ("device", "gpu", "gpus", "cuda", "accelerator"),
        "The device is found by itself, a GPU where PyTorch sees one; CUDA_VISIBLE_DEVICES= (empty) keeps to the CPU, "
        "and torchrun takes several.",
    ),
    **dict.fromkeys(
        ("resume", "resume_from", "resume_from_checkpoint", "continue", "ckpt"), "--run FOLDER goes on with a run."
    ),
    **dict.fromkeys(("config", "cfg", "config_file"), "--hparams takes a preset or a YAML file."),
    **dict.fromkeys(("run_dir", "bundle_file", "checkpoint_file"), "--run FOLDER names a run or a model."),
    **dict.fromkeys(("runs", "runs_dir", "root_dir"), "SWAPTUNES_RUNS=FOLDER says where runs lie."),
}
# What is meant instead where a model that is trained is at hand: to generate, to evaluate.
_TRAINED = "--run FOLDER names the model."
_GENERATING = {
    "name": "generate.out",
    "data.length": "generate.length",
    "train.steps": "generate.length",
    **dict.fromkeys(("backbone", "model.start", MEANINGS["config"], MEANINGS["ckpt"]), _TRAINED),
}


def meant(key: str, known: Iterable[str], sections: tuple[str, ...] = ()) -> str:
    """' Did you mean "train.lr"?' or a sentence, for a key that is not among `known`; empty when nothing is near.

    `sections` are preferred where a last part is found in several, as `generate.` is when generating.
    """
    known = sorted(set(known))
    last = key.rpartition(".")[2].lower().replace("-", "_")
    same = [one for one in known if one.rpartition(".")[2] == last and one != key]
    same.sort(key=lambda one: (not one.startswith(sections) if sections else False, one.count("."), one))
    if same and (key == last or len(same) == 1):
        return f' Did you mean "{same[0]}"?'
    other = MEANINGS.get(key.lower().replace(".", "_")) or MEANINGS.get(last)
    if "generate." in sections:
        other = _GENERATING.get(other or "", other)
    if other is not None:
        return f" {other}" if " " in other else f' Did you mean "{other}"?'
    inner = {one.rsplit(".", 1)[0] for one in known if "." in one}
    within = sorted(one for one in inner if one.rpartition(".")[2] == last)
    if within and "." not in key and within[0] != key:
        return f' Did you mean "{within[0]}"?'
    section = key.rpartition(".")[0]
    beside = {
        one.rpartition(".")[2]: one for one in reversed(known) if not section or one.rpartition(".")[0] == section
    }
    near = get_close_matches(key, known, n=1, cutoff=0.6) if not section or not beside else []
    if not near:  # by the last part, as all keys of a section are alike in the first
        near = [beside[one] for one in get_close_matches(last, beside, n=1, cutoff=0.6 if section else 0.7)]
    return f' Did you mean "{near[0]}"?' if near else ""


def key_meant(key: str, known: Iterable[str], having: Having) -> str:
    """As `meant`; and where a plugin that is not chosen has the key, or what others call so, which ones do."""
    known = set(known)
    hint = meant(key, known)
    other = hint.partition('"')[2].partition('"')[0]
    if other in known and "." not in key:
        return hint
    for one in [key] if other in known else [key, other]:
        for dotted, names in having(one).items():
            return setting_of(dotted, names, "It" if dotted == key else dotted) + (hint if other in known else "")
    return hint


def setting_of(dotted: str, names: list[str], called: str) -> str:
    """' It is a setting of the tokenizers abc and remi.'"""
    slot = dotted.partition(".")[0]
    which = f"{slot} {names[0]}" if len(names) == 1 else f"{slot}s {', '.join(names[:-1])} and {names[-1]}"
    return f" {called} is a setting of the {which}."
