"""The hyper-parameters of a run, section by section; plugins bring their own section for each slot."""

from dataclasses import dataclass, field
from typing import Any, Literal

from hparams.supervisors import LanguageModelHParams


def require(condition: bool, key: str, found: object, expected: str) -> None:
    """Raises the one-line ValueError of a bad value under its dotted name."""
    if not condition:
        raise ValueError(f"{key} is {found!r}; expected {expected}")


@dataclass(kw_only=True)
class ModelHParams:
    """What the hub puts around a backbone."""

    # Whether the output head shares the embedding's weights.
    tie: bool = True
    # A run, an artefact or a Hugging Face folder whose weights to start from; empty: start from random weights.
    start: str = ""
    # What the model may be asked for besides music: names of controls, e.g. [density,key].
    controls: list[str] = field(default_factory=list)
    # Share of training pieces whose control is left out, each control by itself, so that it may be left out later.
    control_dropout: float = 0.2

    def __post_init__(self) -> None:
        require(0 <= self.control_dropout <= 1, "model.control_dropout", self.control_dropout, "a share from 0 to 1")
        require(
            len(set(self.controls)) == len(self.controls), "model.controls", self.controls, "each control at most once"
        )


@dataclass(kw_only=True)
class AugmentHParams:
    """Changes to training pieces, each drawn anew per piece and epoch; validation is never changed."""

    # Largest transposition, in semitones up or down; a draw that leaves the tokenizer's range keeps the piece as it is.
    transpose: int = 0
    # Largest relative change of tempo, 0.1 being 10 %.
    tempo: float = 0.0
    # Largest change of velocity, in steps of the tokenizer's velocity scale.
    velocity: int = 0
    # Where pieces longer than a row may be cut: at bars where the tokenizer knows them, or at any token.
    crop: Literal["bar", "token"] = "bar"

    def __post_init__(self) -> None:
        require(0 <= self.transpose <= 24, "data.augment.transpose", self.transpose, "0 to 24 semitones")
        require(0 <= self.tempo < 1, "data.augment.tempo", self.tempo, "a share from 0 to below 1")
        require(0 <= self.velocity <= 64, "data.augment.velocity", self.velocity, "0 to 64 steps")


@dataclass(kw_only=True)
class DataHParams:
    """How pieces become batches."""

    # Tokens in a row.
    length: int = 512
    # Rows of one optimizer step, over all replicas and accumulation.
    batch_size: int = 8
    # Worker processes that read and tokenize; 0: one per processor.
    workers: int = 0
    # Longest time that reading or tokenizing one piece may take, in seconds.
    seconds_per_file: float = 20.0
    # Most memory that one worker may take, in megabytes.
    megabytes_per_worker: int = 4096
    # Random changes to training pieces.
    augment: AugmentHParams = field(default_factory=AugmentHParams)

    def __post_init__(self) -> None:
        require(self.length >= 2, "data.length", self.length, "at least 2 tokens")
        require(self.batch_size >= 1, "data.batch_size", self.batch_size, "at least 1 row")
        require(self.workers >= 0, "data.workers", self.workers, "0 (one per processor) or more")
        require(self.seconds_per_file > 0, "data.seconds_per_file", self.seconds_per_file, "more than 0 seconds")
        require(
            self.megabytes_per_worker >= 512, "data.megabytes_per_worker", self.megabytes_per_worker, "at least 512"
        )


@dataclass(kw_only=True)
class TrainHParams:
    """One optimizer, AdamW, with linear warm-up and cosine decay."""

    # Optimizer steps; 0: twenty epochs of the training split, at least 200 and at most 2,000.
    steps: int = 0
    # Highest learning rate.
    lr: float = 2e-3
    # Learning rate at the last step, as a share of the highest.
    lr_floor: float = 0.1
    # Steps of linear warm-up, as a share of all steps.
    warmup: float = 0.05
    # Decoupled weight decay of matrices; biases, norms and what a backbone exempts have none.
    weight_decay: float = 0.1
    # Decay rates of AdamW's two moments.
    betas: tuple[float, float] = (0.9, 0.95)
    # Largest norm of the gradient; 0: no clipping.
    clip: float = 1.0
    # Micro-batches whose gradients are summed before a step.
    accumulate: int = 1
    # fp32, bf16, or auto: bf16 where the hardware multiplies it natively, else fp32.
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    # Keeps of a step only what enters each block, and computes the rest again on the way back: less memory, more time.
    activation_checkpointing: bool = False
    # Validations without a better loss after which training stops; 0: never.
    patience: int = 10
    # deepspeed, torch (one process, no DeepSpeed needed), or auto: deepspeed where it is installed.
    engine: Literal["auto", "deepspeed", "torch"] = "auto"
    # Trackers beside metrics.jsonl and TensorBoard: any of wandb, trackio.
    trackers: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        require(self.steps >= 0, "train.steps", self.steps, "0 (chosen from the data) or more")
        require(self.lr > 0, "train.lr", self.lr, "more than 0")
        require(0 <= self.lr_floor <= 1, "train.lr_floor", self.lr_floor, "a share from 0 to 1")
        require(0 <= self.warmup < 1, "train.warmup", self.warmup, "a share from 0 to below 1")
        require(self.weight_decay >= 0, "train.weight_decay", self.weight_decay, "0 or more")
        require(all(0 <= beta < 1 for beta in self.betas), "train.betas", self.betas, "two rates from 0 to below 1")
        require(self.clip >= 0, "train.clip", self.clip, "0 (none) or more")
        require(self.accumulate >= 1, "train.accumulate", self.accumulate, "at least 1")
        require(self.patience >= 0, "train.patience", self.patience, "0 (never) or more")


@dataclass(kw_only=True)
class EvaluateHParams:
    """Validation in training, and the measures at its end."""

    # Optimizer steps between validations; 0: a twentieth of the run, at least 10 steps.
    every: int = 0
    # Most tokens of the validation split that a validation in training scores; the final figures use all.
    tokens: int = 32768
    # Pieces that `evaluate` generates from nothing, and prompts that it continues.
    count: int = 64
    # Beats (quarters) of every piece, generated or real, that the measures of `evaluate` look at.
    beats: float = 64.0
    # Beats of a real piece that `evaluate` gives as a prompt, to be continued up to `evaluate.beats`.
    prompt_beats: float = 16.0

    def __post_init__(self) -> None:
        require(self.every >= 0, "evaluate.every", self.every, "0 (chosen from the run) or more")
        require(self.tokens >= 1, "evaluate.tokens", self.tokens, "at least 1")
        require(self.count >= 2, "evaluate.count", self.count, "at least 2")
        require(self.beats >= 8, "evaluate.beats", self.beats, "at least 8")
        require(
            0 < self.prompt_beats < self.beats,
            "evaluate.prompt_beats",
            self.prompt_beats,
            f"more than 0 and less than evaluate.beats ({self.beats:g})",
        )


@dataclass(kw_only=True)
class CheckpointHParams:
    """What is kept to go on from; the best model is always kept beside it."""

    # Optimizer steps between checkpoints; 0: with every validation.
    every: int = 0
    # Newest checkpoints to keep.
    keep: int = 2

    def __post_init__(self) -> None:
        require(self.every >= 0, "checkpoint.every", self.every, "0 (with every validation) or more")
        require(self.keep >= 1, "checkpoint.keep", self.keep, "at least 1")


@dataclass(kw_only=True)
class LatentHParams:
    """What to decode, for a model that holds music in latent vectors; nothing given: draws from the prior."""

    # A file of music to encode and to decode again.
    source: str = ""
    # A file at the other end: the pieces lead there from `source`, along the sphere.
    target: str = ""
    # Two files or folders of music, one with a quality and one without: the difference of their mean vectors is added.
    attribute: list[str] = field(default_factory=list)
    # How much of that difference; below 0: away from the quality.
    amount: float = 1.0

    def __post_init__(self) -> None:
        require(not self.target or bool(self.source), "generate.latent.target", self.target, "a source= beside it")
        two = "two files or folders, [WITH,WITHOUT]"
        require(len(self.attribute) in (0, 2), "generate.latent.attribute", self.attribute, two)


# What of a prompt to use, one at the most.
PROMPT_CUTS = ("prompt_beats", "prompt_bars", "prompt_seconds")


@dataclass(kw_only=True)
class GenerateHParams:
    """What to generate and how to draw it."""

    # Pieces to generate.
    count: int = 4
    # Folder to write to, without pieces of another call; empty: samples/ of the run, for an artefact of where one is.
    out: str = ""
    # A file of music to continue, in any readable format; empty: start from nothing.
    prompt: str = ""
    # Beats of the prompt to use; 0: all of it.
    prompt_beats: float = 0.0
    # Bars of the prompt to use, as its file counts them, instead of beats; 0: all of it.
    prompt_bars: int = 0
    # Seconds of the prompt to use, instead of beats or bars, which mean nothing in a free performance; 0: all of it.
    prompt_seconds: float = 0.0
    # Most tokens to draw for a piece.
    length: int = 1024
    # Bars to generate; 0: until the piece ends or `length` is reached.
    bars: int = 0
    # Divides the logits: below 1 sharpens, above 1 flattens; 0 takes the likeliest token.
    temperature: float = 1.0
    # Keep only the k likeliest tokens; 0: all.
    top_k: int = 0
    # Keep the fewest likeliest tokens whose probabilities sum to at least this; 1: all.
    top_p: float = 0.94
    # Drop tokens less likely than this share of the likeliest one; 0: none.
    min_p: float = 0.0
    # Weakens tokens that the piece already holds; 1: not.
    repetition_penalty: float = 1.0
    # Seed of the draws; `generate` takes a fresh one, which it prints and stores, unless it is given.
    seed: int = 0
    # What is asked of each control of the model, e.g. generate.controls.density=4; one that is not named is left open.
    controls: dict[str, Any] = field(default_factory=dict)
    # What is decoded by a model that holds music in latent vectors.
    latent: LatentHParams = field(default_factory=LatentHParams)
    # How strongly the pieces follow what is asked: 1 as the model learned it, more exaggerates; each piece then takes
    # twice the work.
    guidance: float = 1.0
    # Files of each piece beside its .mid and .json: any of png, abc, musicxml, svg (engraved), wav, mirex.
    formats: list[str] = field(default_factory=lambda: ["png"])

    def __post_init__(self) -> None:
        require(self.guidance >= 0, "generate.guidance", self.guidance, "0 (not at all) or more")
        require(self.count >= 1, "generate.count", self.count, "at least 1")
        require(self.prompt_beats >= 0, "generate.prompt_beats", self.prompt_beats, "0 (all) or more")
        require(self.prompt_bars >= 0, "generate.prompt_bars", self.prompt_bars, "0 (all) or more")
        require(self.prompt_seconds >= 0, "generate.prompt_seconds", self.prompt_seconds, "0 (all) or more")
        cuts = [key for key in PROMPT_CUTS if getattr(self, key)]
        if len(cuts) > 1:
            alone = f"0 beside {cuts[0]}: a prompt is cut by beats, bars or seconds"
            require(False, f"generate.{cuts[1]}", getattr(self, cuts[1]), alone)
        require(self.length >= 1, "generate.length", self.length, "at least 1 token")
        require(self.bars >= 0, "generate.bars", self.bars, "0 (open) or more")
        require(self.temperature >= 0, "generate.temperature", self.temperature, "0 (greedy) or more")
        require(self.top_k >= 0, "generate.top_k", self.top_k, "0 (all) or more")
        require(0 < self.top_p <= 1, "generate.top_p", self.top_p, "a share above 0 to 1")
        require(0 <= self.min_p <= 1, "generate.min_p", self.min_p, "a share from 0 to 1")
        require(
            self.repetition_penalty >= 1, "generate.repetition_penalty", self.repetition_penalty, "1 (none) or more"
        )


@dataclass(kw_only=True)
class HParams:
    """A whole run; supervisor, backbone, tokenizer and dataset hold the section of the plugin of their `name`."""

    # Name of the run and of its folder; empty: the preset's name.
    name: str = ""
    # The own hyper-parameters of the supervisor, which says what is learned and how.
    supervisor: Any = field(default_factory=LanguageModelHParams)
    # The backbone's own hyper-parameters.
    backbone: Any = None
    # The tokenizer's own hyper-parameters.
    tokenizer: Any = None
    # The dataset's own hyper-parameters.
    dataset: Any = None
    # Seed of weights, order of data, dropout and augmentation.
    seed: int = 0
    model: ModelHParams = field(default_factory=ModelHParams)
    data: DataHParams = field(default_factory=DataHParams)
    train: TrainHParams = field(default_factory=TrainHParams)
    evaluate: EvaluateHParams = field(default_factory=EvaluateHParams)
    checkpoint: CheckpointHParams = field(default_factory=CheckpointHParams)
    generate: GenerateHParams = field(default_factory=GenerateHParams)
    # Settings of the controls in model.controls, e.g. controls.label.column=genre.
    controls: dict[str, Any] = field(default_factory=dict)
    # Settings of DeepSpeed, named as DeepSpeed names them; they win over what the hub fills in.
    deepspeed: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require(
            self.data.batch_size % self.train.accumulate == 0,
            "data.batch_size",
            self.data.batch_size,
            f"a multiple of train.accumulate ({self.train.accumulate})",
        )
