"""What `bench` may be told."""

from dataclasses import dataclass, fields

from hparams.base import require

# What `quick` puts in the place of the defaults.
QUICK: dict[str, int | float | str] = {
    "length": 256,
    "batch": 1,
    "lengths": "256,1024",
    "repeats": 2,
    "limit": 3.0,
    "peers": "mambapy,transformers_mamba,transformers_llama",
}


@dataclass(kw_only=True)
class BenchHParams:
    """How fast is measured, and what; every model gets the parameters of `mamba` at `dim` and `layers`."""

    # Width of the Mamba whose size all others take.
    dim: int = 256
    # Blocks of that Mamba.
    layers: int = 6
    # Ids of every model.
    vocabulary: int = 512
    # Tokens in a row of the training step, and the context at which decoding is compared.
    length: int = 1024
    # Rows of the training step; other lengths get as many rows as have the same number of tokens.
    batch: int = 4
    # Lengths and contexts of the crossover, in tokens.
    lengths: str = "256,512,1024,2048,4096,8192,16384"
    # Threads; 0: as many as PyTorch takes.
    threads: int = 0
    # Samples of every figure, each taken in a round over all models.
    repeats: int = 5
    # Seconds that one step of training may take; a slower model is measured on shorter rows, and that is said.
    limit: float = 30.0
    # cpu or cuda.
    device: str = "cpu"
    # Names joined by commas; empty: all that are installed.
    backbones: str = ""
    # Names joined by commas; empty: all that are installed; none: no peer.
    peers: str = ""
    # A look in about a minute: short rows, two samples, few peers, no profile, one process a model.
    quick: bool = False
    # Folder to write to; empty: `bench` beside the runs.
    out: str = ""

    def __post_init__(self) -> None:
        if self.quick:
            for field in fields(self):
                if field.name in QUICK and getattr(self, field.name) == field.default:
                    setattr(self, field.name, QUICK[field.name])
        for name in ("dim", "layers", "vocabulary", "batch", "repeats"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        require(self.length >= 16, "length", self.length, "at least 16")
        require(self.threads >= 0, "threads", self.threads, "0 (as many as PyTorch takes) or more")
        require(self.limit > 0, "limit", self.limit, "seconds above 0")
        require(self.device in ("cpu", "cuda"), "device", self.device, "cpu or cuda")
        require(
            all(part.isdecimal() and int(part) >= 16 for part in self.lengths.split(",")),
            "lengths",
            self.lengths,
            "numbers of 16 or more joined by commas, e.g. 256,1024,4096",
        )

    @property
    def all_lengths(self) -> list[int]:
        """`lengths` as numbers, ascending, with `length` among them."""
        return sorted({int(part) for part in self.lengths.split(",")} | {self.length})
