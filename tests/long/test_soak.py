"""A short soak: killed while writing a checkpoint, while writing the model, and at any time, a run ends the same."""

from pathlib import Path

from tests.soak import CHECKPOINT, MODEL, report, soak


def test_a_run_that_is_killed_again_and_again_ends_bit_equal(tmp_path: Path, figures: list[str]) -> None:
    words = ["train.engine=torch"]
    result = soak(3, 0, tmp_path / "soak", words)
    figures.append(report(result, 0, words).splitlines()[2])
    assert len(result.kills) == 3 and len(result.sha256) >= 4
    assert result.differences == []
    assert result.lines == result.steps * 3 // 2 and result.repeated == 0
    assert all(kill.went_on_from for kill in result.kills)
    assert result.cutting(CHECKPOINT) >= 1 and result.cutting(MODEL) >= 1
