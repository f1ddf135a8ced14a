"""The data of MusicVAE: tokens of bars of one length."""

from typing import cast

from core.errors import HubError
from hparams.supervisors import MusicVaeHParams
from supervisors.artefacts import described
from supervisors.training.data.token_data import TokenData


class MusicVaeData(TokenData):
    """Windows of whole bars, which a row of the data must hold."""

    takes_latents = True

    @property
    def own(self) -> MusicVaeHParams:
        """The supervisor's own hyper-parameters."""
        return cast(MusicVaeHParams, self.hparams.supervisor)

    def insist_fits(self) -> None:
        """Also HubError for a tokenizer without bars of one length, and for a window that does not fit into a row."""
        super().insist_fits()
        name = self.hparams.tokenizer.name
        bar = getattr(described.build_tokenizer(self.manager, self.hparams, None), "bar_tokens", 0)
        if not bar:
            raise HubError(
                f"tokenizer {name} does not tell every bar in as many tokens, as supervisor {self.own.name} needs; "
                "choose one on a grid of steps"
            )
        if self.own.bars * bar > self.hparams.data.length:
            raise HubError(
                f"supervisor.bars is {self.own.bars}, {self.own.bars * bar} tokens of {name}, and data.length is "
                f"{self.hparams.data.length}; expected a window that fits: data.length={self.own.bars * bar}"
            )
