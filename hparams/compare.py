"""What `compare` may be told beside the hyper-parameters of the runs that it trains."""

from dataclasses import dataclass

from hparams.base import require


@dataclass(kw_only=True)
class CompareHParams:
    """How presets are made comparable, `compare.*` on the command line; runs that stand are taken as they are."""

    # Runs of each preset, with seeds 0, 1, ...; one seed supports no ranking.
    seeds: int = 3
    # Parameters of every model, met by the width of its backbone; 0: as many as the first preset has.
    parameters: int = 0
    # Tokens that every run trains on; 0: what the first preset's steps come to.
    tokens: int = 0
    # Minutes of training of every run instead of equal tokens, from a measured rate; 0: equal tokens.
    minutes: float = 0.0

    def __post_init__(self) -> None:
        require(self.seeds >= 1, "compare.seeds", self.seeds, "at least 1")
        require(self.parameters >= 0, "compare.parameters", self.parameters, "0 (as the first preset) or more")
        require(self.tokens >= 0, "compare.tokens", self.tokens, "0 (as the first preset) or more")
        require(self.minutes >= 0, "compare.minutes", self.minutes, "0 (equal tokens) or more")
        require(not (self.tokens and self.minutes), "compare.minutes", self.minutes, "0 when compare.tokens is given")
