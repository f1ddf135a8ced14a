"""The laws of tokenizers: a correct one keeps them all, and each planted fault is caught by the law that names it."""

import pytest

from plugins.checks import tokenizer_checks, tokenizer_laws
from tests.planted_faults_tokenizers import FAULTS
from tests.reference_tokenizer import ReferenceTokenizerHParams, build

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
