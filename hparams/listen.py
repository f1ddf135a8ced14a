"""What `listen` may be told: how a blind listening test is made and served."""

from dataclasses import dataclass
from typing import Literal

from hparams.base import require


@dataclass(kw_only=True)
class ListenHParams:
    """A listening test of several systems, `listen.*` on the command line."""

    # Pieces of each system.
    pieces: int = 12
    # Seconds of each piece that are heard, from its beginning.
    seconds: float = 20.0
    # Ratings on five-point scales, or preferences between two systems at a time.
    kind: Literal["ratings", "pairs"] = "ratings"
    # What is rated; a scale is a word that the page shows.
    scales: tuple[str, ...] = ("overall", "coherence", "structure", "melody")
    # Seed of the draws of pieces, of the names of clips and of their orders.
    seed: int = 0
    # Whether to serve the page on this machine when it is made.
    serve: bool = True
    # Port to serve on; 0: any that is free.
    port: int = 0

    def __post_init__(self) -> None:
        require(self.pieces >= 2, "listen.pieces", self.pieces, "at least 2")
        require(1 <= self.seconds <= 600, "listen.seconds", self.seconds, "1 to 600 seconds")
        require(len(self.scales) >= 1, "listen.scales", self.scales, "one word at least")
        require(0 <= self.port <= 65535, "listen.port", self.port, "0 (any) to 65535")
