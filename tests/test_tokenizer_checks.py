"""The laws of tokenizers: a correct one keeps them all, and each planted fault is caught by the law that names it."""

import pytest

from plugins.checks import tokenizer_checks, tokenizer_laws
from plugins.laws.pieces import heard, specimens
from tests.planted_faults_tokenizers import FAULTS
from tests.reference_tokenizer import ReferenceTokenizer, ReferenceTokenizerHParams, build

LAWS = {law.name for law in tokenizer_laws(build, ReferenceTokenizerHParams())}


@pytest.mark.parametrize(*tokenizer_checks(build, ReferenceTokenizerHParams()))
def test_reference_keeps_the_law(law):
    law()


@pytest.mark.parametrize("name", FAULTS)
def test_fault_is_caught_by_its_law(name):
    fault, expected = FAULTS[name]
    (law,) = [law for law in tokenizer_laws(fault, ReferenceTokenizerHParams()) if law.name == expected]
    verdict = law.judge()
    assert verdict.passed is False, verdict
    assert verdict.detail


def test_every_law_has_a_fault():
    assert {law for _, law in FAULTS.values()} == LAWS


def test_specimens_are_many_and_rise_in_size():
    notes = [len(heard(specimen.piece)) for specimen in specimens()]
    assert len(notes) >= 10 and notes[0] == 1
    assert len({specimen.piece.source for specimen in specimens()}) == len(notes)
    assert [specimen.name for specimen in specimens() if specimen.plain]


def test_a_tokenizer_that_takes_nothing_breaks_the_laws():
    class RefusesAll(ReferenceTokenizer):
        def encode(self, piece):
            raise ValueError(f"{piece.source} is no music")

    verdicts = {law.name: law.judge() for law in tokenizer_laws(RefusesAll, ReferenceTokenizerHParams())}
    assert "a scale is refused, a plain melody" in verdicts["takes music or names the piece"].detail
    assert verdicts["music survives"].detail == "one note: no piece is taken at all"


def test_optional_laws_are_skipped_with_the_reason():
    class Plain(ReferenceTokenizer):
        grammar = None
        velocity_table = None

        def transpose_table(self, semitones):
            raise ValueError("drums do not move")

    verdicts = {law.name: law.judge() for law in tokenizer_laws(Plain, ReferenceTokenizerHParams())}
    assert verdicts["grammar allows real music"].detail == "offers no grammar"
    assert verdicts["transposition commutes"].detail == "transpose_table: drums do not move"
    assert verdicts["velocity and tempo maps keep the notes"].passed is True
    assert not [verdict for verdict in verdicts.values() if verdict.passed is False]
