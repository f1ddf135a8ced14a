"""The laws of backbones: a correct one keeps them all, and each planted fault is caught by the law that names it."""

import pytest

from plugins.checks import backbone_checks, backbone_laws
from tests.planted_faults_backbones import FAULTS
from tests.reference_backbone import ReferenceHParams, build

LAWS = {law.name for law in backbone_laws(build, ReferenceHParams())}


@pytest.mark.parametrize(*backbone_checks(build, ReferenceHParams()))
def test_reference_keeps_the_law(law):
    law()


@pytest.mark.parametrize("name", FAULTS)
def test_fault_is_caught_by_its_law(name):
    fault, expected = FAULTS[name]
    (law,) = [law for law in backbone_laws(fault, ReferenceHParams()) if law.name == expected]
    verdict = law.judge()
    assert verdict.passed is False, verdict
    assert verdict.detail
    assert verdict.deviation > law.tolerance


def test_every_law_has_a_fault():
    assert {law for _, law in FAULTS.values()} == LAWS
