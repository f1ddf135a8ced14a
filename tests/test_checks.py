"""The laws of backbones: a correct one keeps them all, and each planted fault is caught by the law that names it."""

import math
import os
import types

import pluggy
import pytest
import torch

from core.errors import HubError
from plugins.checks import LawBroken, Skipped, backbone_checks, backbone_laws, run, table
from plugins.laws.law import Finding, Law
from plugins.manager import Manager
from tests.planted_faults_backbones import FAULTS
from tests.reference_backbone import Reference, ReferenceHParams, build

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


def test_verdict_names_the_smallest_case():
    law = law_of("WindowOffByOne", "chunks equal whole")
    assert law.judge().detail.startswith("batch 1, length 4: chunks [1, 1, 1, 1] differ from the whole")
    with pytest.raises(LawBroken, match="chunks equal whole: batch 1, length 4: "):
        law()


def test_a_law_that_raises_is_a_broken_law():
    verdict = law_of("Raises", "chunks equal whole").judge()
    assert (verdict.passed, verdict.deviation) == (False, math.inf)
    assert "raised AttributeError: 'Raises' object has no attribute 'missing'" in verdict.detail


def law_of(fault, name):
    """One law over one fault."""
    return next(law for law in backbone_laws(FAULTS[fault][0], ReferenceHParams()) if law.name == name)


def test_a_backbone_that_cannot_be_built_breaks_every_law():
    def fails(hparams):
        raise OSError("no kernel")

    verdicts = [law.judge() for law in backbone_laws(fails, ReferenceHParams())]
    assert {verdict.passed for verdict in verdicts} == {False}
    assert all("raised OSError: no kernel" in verdict.detail for verdict in verdicts)


class Unpacked(Reference):
    packs = False

    def positions(self, position, starts):
        assert not starts.any()
        return super().positions(position, starts)


def test_a_backbone_that_does_not_pack_skips_the_laws_of_packing():
    verdicts = [law.judge() for law in backbone_laws(Unpacked, ReferenceHParams())]
    assert not [verdict for verdict in verdicts if verdict.passed is False]
    skipped = {verdict.law: verdict.detail for verdict in verdicts if verdict.passed is None}
    assert set(skipped.values()) == {"packs = False"}
    assert {"packed equals separate", "ragged prompts equal alone"} < set(skipped)
    with pytest.raises(Skipped, match="packs = False"):
        next(law for law in backbone_laws(Unpacked, ReferenceHParams()) if law.name in skipped)()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_reference_keeps_the_laws_in_other_types(dtype):
    verdicts = [law.judge() for law in backbone_laws(build, ReferenceHParams(), dtype=dtype)]
    assert not [verdict for verdict in verdicts if verdict.passed is False]
    assert [verdict.law for verdict in verdicts if verdict.passed is None] == ["gradient is true"]


AUTHORS_TEST = """
import pytest
from plugins.checks import backbone_checks
from tests.planted_faults_backbones import NoMemory
from tests.reference_backbone import ReferenceHParams

EXPECTED = {"remembers earlier tokens": "a window of 4", "dtype kept": "believed to be broken"}

@pytest.mark.parametrize(*backbone_checks(NoMemory, ReferenceHParams(), expected_failures=EXPECTED))
def test_law(law):
    law()
"""


class Outcomes:
    """A pytest plugin that keeps what became of each law."""

    def __init__(self):
        self.seen = {}

    def pytest_runtest_logreport(self, report):
        if report.when == "call":
            law = report.nodeid.partition("[")[2].removesuffix("]")
            self.seen[law] = "expected" if hasattr(report, "wasxfail") else report.outcome


def test_an_expected_failure_is_noted_and_one_that_holds_is_reported(tmp_path):
    file = tmp_path / "test_author.py"
    file.write_text(AUTHORS_TEST)
    outcomes = Outcomes()
    pytest.main(["-q", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", str(tmp_path), str(file)], [outcomes])
    odd = {law: outcome for law, outcome in outcomes.seen.items() if outcome != "passed"}
    assert odd == {"remembers-earlier-tokens": "expected", "dtype-kept": "failed"}
    assert len(outcomes.seen) == len(LAWS)


def test_an_expected_failure_of_no_law_is_an_error():
    with pytest.raises(HubError, match=r'names no law: "causual"\. Did you mean "causal"'):
        backbone_checks(build, ReferenceHParams(), expected_failures={"causual": "?"})


def test_table_shows_verdicts_deviations_and_cases():
    law = Law("close", lambda case: [Finding("far away", case)], lambda: (0.25, 2.0), lambda case: (1.5, 1.0), 0.5)
    fine = Law("fine", lambda case: [Finding("near", case)], lambda: (0.0, 0.25), lambda case: (), 0.5)
    lines = table([law.judge(), fine.judge()]).splitlines()
    assert lines[0].split()[:3] == ["close", "BROKEN", "1.5e+00"]
    assert lines[1].strip() == "1.5: far away"
    assert lines[2].split()[:3] == ["fine", "holds", "2.5e-01"]
    assert lines[3].startswith("2 laws, 1 broken")


def test_not_a_number_breaks_a_law():
    law = Law("finite", lambda case: [Finding("x", math.nan)], lambda: (1,), lambda case: (), 0.5)
    assert (law.judge().passed, law.judge().deviation) == (False, math.inf)


def host():
    """A host with the reference backbone alone."""
    module = types.ModuleType("made")

    def register_backbones(register):
        register("reference", ReferenceHParams, build)

    module.register_backbones = pluggy.HookimplMarker("swaptunes")(register_backbones)
    manager = Manager()
    manager.add("reference", lambda: module)
    return manager


def test_run_judges_by_name_and_refuses_what_it_does_not_know():
    assert [verdict.passed for verdict in run(host(), "reference")] == [True] * len(LAWS)
    for words, message in (
        (("refrence",), 'Did you mean "reference"'),
        (("reference", "cpu", "float63"), 'Did you mean "float64"'),
        (("reference", "gpu"), 'device "gpu" cannot be used'),
    ):
        with pytest.raises(HubError, match=message):
            run(host(), *words)
