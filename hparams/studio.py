"""What `studio` may be told: where it serves, and how much it may hold at once."""

from dataclasses import dataclass

from hparams.base import require


@dataclass(kw_only=True)
class StudioHParams:
    """A page on this machine to play, continue and compare models, `studio.*` on the command line."""

    # Port to serve on; 0: any that is free.
    port: int = 0
    # Pieces that are played at once; who asks for one more is told to come again.
    streams: int = 16
    # Models that are held in memory at once; the one that was not asked for longest goes.
    models: int = 3
    # Megabytes of a file that is sent to be continued.
    upload: float = 4.0
    # Megabytes of states that are kept, so that going on from a place of a piece reads nothing again.
    memory: int = 128

    def __post_init__(self) -> None:
        require(0 <= self.port <= 65535, "studio.port", self.port, "0 (any) to 65535")
        require(1 <= self.streams <= 256, "studio.streams", self.streams, "1 to 256")
        require(1 <= self.models <= 64, "studio.models", self.models, "1 to 64")
        require(0 < self.upload <= 64, "studio.upload", self.upload, "above 0 to 64 megabytes")
        require(0 <= self.memory <= 65536, "studio.memory", self.memory, "0 (none) to 65536 megabytes")
