"""The laws of backbones: a correct one keeps them all, and each planted fault is caught by the law that names it."""

import math
import os
import types

import pluggy
import pytest
import torch

from core.errors import HubError
from plugins.checks import LawBroken, Skipped, backbone_checks, backbone_laws, run, table
from plugins.laws.backbones.subject import Subject
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


class Convolution(torch.nn.Module):
    """One causal convolution over `taps` tokens a channel, whatever `layers` says, and a linear map."""

    packs = False

    def __init__(self, hparams, taps):
        super().__init__()
        self.dim = hparams.dim
        self.taps = torch.nn.Parameter(torch.randn(hparams.dim, 1, taps))
        self.out = torch.nn.Linear(hparams.dim, hparams.dim)
        self.dropout = torch.nn.Dropout(hparams.dropout)

    def init_state(self, batch, max_length):
        return {"last": self.taps.new_zeros(batch, self.taps.shape[2] - 1, self.dim)}

    def forward(self, x, state=None, starts=None):
        last = (state or self.init_state(len(x), 0))["last"]
        seen = torch.cat([last, x], 1)  # b taps-1+l d
        mixed = torch.nn.functional.conv1d(seen.mT, self.taps, groups=self.dim).mT  # b l d
        after = {"last": seen[:, x.shape[1] :]} if state is not None else None
        return self.out(self.dropout(mixed)), after


class FewerTapsInSteps(Convolution):
    def forward(self, x, state=None, starts=None):
        if x.shape[1] == 1:
            state = {"last": state["last"] * (torch.arange(state["last"].shape[1]) > 2)[:, None]}
        return super().forward(x, state, starts)


def test_a_short_window_is_a_design_and_no_fault():
    """Of eight tokens and of three, which end before the tenth; of one, which is no memory; of fewer in steps."""
    packing = {"packs = False"}
    for taps, said in ((8, "none before token 3"), (3, "none before token 8")):
        laws = backbone_laws(lambda hparams, taps=taps: Convolution(hparams, taps), ReferenceHParams())
        verdicts = [law.judge() for law in laws]
        assert not [verdict for verdict in verdicts if verdict.passed is False]
        skipped = {verdict.law: verdict.detail for verdict in verdicts if verdict.passed is None}
        assert skipped.pop("remembers earlier tokens") == f"a window: token 10 is told of {said}"
        assert set(skipped.values()) == packing
    fewer = "tokens [1, 2, 3, 4, 5] have influence on token 6 at once, [2, 3, 4, 5] step by step"
    for build_it, why in (
        (lambda hparams: Convolution(hparams, 1), "at once: no earlier token has influence on token 2"),
        (lambda hparams: FewerTapsInSteps(hparams, 8), fewer),
    ):
        laws = {law.name: law for law in backbone_laws(build_it, ReferenceHParams())}
        verdict = laws["remembers earlier tokens"].judge()
        assert verdict.passed is False and why in verdict.detail


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_reference_keeps_the_laws_in_other_types(dtype):
    verdicts = [law.judge() for law in backbone_laws(build, ReferenceHParams(), dtype=dtype)]
    assert not [verdict for verdict in verdicts if verdict.passed is False]
    assert [verdict.law for verdict in verdicts if verdict.passed is None] == ["gradient is true"]


def test_the_laws_are_as_loud_as_the_backbone_wants_embeddings():
    class Quiet(Reference):
        embedding_std = 0.01

    spread = [
        float(Subject(one, ReferenceHParams(), "cpu", torch.float64).x(64, 64).std()) for one in (Quiet, Reference)
    ]
    assert spread == pytest.approx([0.01, 1.0], rel=0.02)


AUTHORS_TEST = """
import pytest
from plugins.checks import backbone_checks
from tests.planted_faults_backbones import NoMemory
from tests.reference_backbone import ReferenceHParams

EXPECTED = {"remembers earlier tokens": "every token for itself", "dtype kept": "believed to be broken"}

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
