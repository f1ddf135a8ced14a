"""Where a foreign part fails in training, it is named with what examines it; what people mend or wish is not."""

import logging

import pytest

from core.errors import HubError
from core.log import logger
from hparams.base import HParams
from supervisors import verbs
from supervisors.artefacts import provenance
from supervisors.training.base import Interrupted


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (RuntimeError("mat1 and mat2"), ['backbone "slurp" is of slurp-net 0.3; check slurp examines it by itself']),
        (HubError("one line"), []),
        (Interrupted(3, 15), []),
    ],
)
def test_the_foreign_part_is_named(
    error: Exception, told: list[str], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = {
        "backbone": {"name": "slurp", "distribution": "slurp-net", "version": "0.3"},
        "tokenizer": {"name": "remi", "distribution": "swaptunes", "version": "0.1.0"},
    }
    monkeypatch.setattr(provenance, "plugins_of", lambda manager, hparams: parts)
    monkeypatch.setattr(logger, "propagate", True)
    caplog.set_level(logging.ERROR)
    with pytest.raises(type(error)), verbs._blaming(HParams()):
        raise error
    assert caplog.messages == told
