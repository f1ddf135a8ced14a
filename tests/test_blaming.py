"""Where a foreign part fails at work, the last line names it and what examines it; all other errors stay."""

import logging

import pytest

from core.errors import HubError
from core.log import logger
from hparams.base import HParams
from supervisors import verbs
from supervisors.artefacts import provenance
from supervisors.training.base import Interrupted

PARTS = {
    "backbone": {"name": "slurp", "distribution": "slurp-net", "version": "0.3"},
    "tokenizer": {"name": "remi", "distribution": "swaptunes", "version": "0.1.0"},
    "dataset": {"name": "pond", "distribution": "pond-data", "version": "1"},
}


def blamed(error: Exception, parts: dict[str, dict[str, str]], monkeypatch: pytest.MonkeyPatch) -> BaseException:
    monkeypatch.setattr(provenance, "plugins_of", lambda manager, hparams: parts)
    with pytest.raises(Exception) as caught, verbs._blaming(HParams()):
        raise error
    return caught.value


def test_the_foreign_parts_are_named_behind_the_traceback(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logger, "propagate", True)
    caplog.set_level(logging.ERROR)
    found = blamed(RuntimeError("mat1 and\n mat2"), PARTS, monkeypatch)
    assert type(found) is HubError
    assert str(found) == (
        'RuntimeError: mat1 and mat2; not all of this is the hub\'s own: backbone "slurp" of slurp-net 0.3, '
        'dataset "pond" of pond-data 1; to examine it by itself: check slurp'  # data sets have no laws
    )
    (traceback,) = caplog.messages
    assert traceback.startswith("Traceback") and "in blamed" in traceback


@pytest.mark.parametrize("error", [HubError("one line"), Interrupted(3, 15)])
def test_what_is_for_people_stays_as_it_is(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    assert blamed(error, PARTS, monkeypatch) is error


def test_the_hubs_own_faults_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    error = RuntimeError("ours")
    assert blamed(error, {"tokenizer": PARTS["tokenizer"]}, monkeypatch) is error
