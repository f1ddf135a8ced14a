"""Training batches on a rank's device; a GPU's next one is made and sent while it works on the last.

A batch is a pure function of step and micro-batch, so whether it was made ahead changes nothing but the time.
"""

from torch import Tensor

from datatools.batching.batches import Batches
from supervisors.training.ranks import Ranks

Batch = dict[str, Tensor]


class Feed:
    """The batches of one rank, in any order; `ahead`: `make` makes one before it is asked for."""

    def __init__(self, batches: Batches, ranks: Ranks, ahead: bool | None = None) -> None:
        self.batches, self.ranks = batches, ranks
        self.ahead = ranks.device.type == "cuda" if ahead is None else ahead  # a CPU has nothing else to do meanwhile
        self._made: dict[tuple[int, int], Batch] = {}

    def batch(self, step: int, micro: int) -> Batch:
        """One micro-batch."""
        made = self._made.pop((step, micro), None)
        return self._sent(step, micro) if made is None else made

    def make(self, step: int, micro: int) -> None:
        """Makes and sends the micro-batch that will be asked for next, instead of any other."""
        if self.ahead:
            self._made = {(step, micro): self._sent(step, micro)}

    def _sent(self, step: int, micro: int) -> Batch:
        made = self.batches.batch(step, micro, self.ranks.rank, self.ranks.world)
        if self.ranks.device.type != "cuda":
            return {key: value.to(self.ranks.device) for key, value in made.items()}
        # From pinned memory, which a copy leaves to the device.
        return {key: value.pin_memory().to(self.ranks.device, non_blocking=True) for key, value in made.items()}
