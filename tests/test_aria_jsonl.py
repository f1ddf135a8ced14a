"""The JSON lines of aria, on lines made by hand in the shape that its code has; no real file has been seen."""

import json
from pathlib import Path
from typing import Any

import pytest

from hparams.datasets import AriaJsonlHParams
from plugins.datasets.records import aria_jsonl


def note(pitch: int, start: int, end: int, velocity: int = 64, channel: int = 0) -> dict[str, Any]:
    data = {"pitch": pitch, "start": start, "end": end, "velocity": velocity}
    return {"type": "note", "data": data, "tick": start, "channel": channel}


def line(*notes: dict[str, Any], **more: Any) -> dict[str, Any]:
    empty: dict[str, Any] = {"meta_msgs": [], "tempo_msgs": [], "pedal_msgs": [], "instrument_msgs": [], "metadata": {}}
    return empty | {"note_msgs": list(notes), "ticks_per_beat": 480} | more


PIECE = line(
    *(note(60, 0, 480), note(64, 480, 960, 90), note(36, 240, 250, channel=9), note(50, 960, 1000, channel=1)),
    note(62, 100, 200, channel=1),
    tempo_msgs=[{"type": "tempo", "data": 400_000, "tick": 0}, {"type": "tempo", "data": 600_000, "tick": 480}],
    instrument_msgs=[
        {"type": "instrument", "data": 40, "tick": 900, "channel": 1},
        {"type": "instrument", "data": 24, "tick": 0, "channel": 1},
    ],
    pedal_msgs=[
        {"type": "pedal", "data": on, "tick": tick, "channel": 0} for tick, on in ((10, 1), (20, 1), (400, 0), (500, 1))
    ],
)


def test_a_line_is_its_music() -> None:
    score = aria_jsonl.read(json.dumps(PIECE), "x").score
    found = {
        (track.program, track.is_drum): [(n.time, n.duration, n.pitch, n.velocity) for n in track.notes]
        for track in score.tracks
    }
    assert found == {
        (0, False): [(0, 480, 60, 64), (480, 480, 64, 90)],
        (24, False): [(100, 100, 62, 64)],
        (40, False): [(960, 40, 50, 64)],
        (0, True): [(240, 10, 36, 64)],
    }
    assert [(tempo.time, round(tempo.qpm)) for tempo in score.tempos] == [(0, 150), (480, 100)]
    assert [(p.time, p.duration) for track in score.tracks for p in track.pedals] == [(10, 390), (500, 460)]
    assert score.ticks_per_quarter == 480


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ("{", "it is no JSON ("),
        ("[" * 100_000, "it is no JSON ("),
        ("[1]", 'it is [1]; expected an object a line with "note_msgs" and "ticks_per_beat"'),
        (line(note(128, 0, 1)), "a pitch is 128; expected a whole number from 0 to 127"),
        (line(note(60, 5, 4)), "a note's end is 4; expected a whole number from 5 to 2147483647"),
        (line(note(60, 0.5, 4)), "a note's start is 0.5; expected a whole number"),  # type: ignore[arg-type]
        (line(note(60, 0, 1), ticks_per_beat=0), "ticks_per_beat is 0; expected a whole number from 1 to 32767"),
        (line({"data": {"pitch": 1}, "channel": 0}), "a message of it is another (KeyError: 'start')"),
        (line(note(60, 0, 1), tempo_msgs=3), "a message of it is another (TypeError: "),
        (line(note(60, 0, 1), tempo_msgs=[{"data": 0, "tick": 0}]), "a tempo is 0; expected"),
        (line(), "it has no notes"),
    ],
)
def test_another_line_is_named(found: Any, said: str) -> None:
    with pytest.raises(ValueError) as refused:
        piece = aria_jsonl.read(found if isinstance(found, str) else json.dumps(found), "x")
        if not piece.score.note_num():
            raise ValueError("it has no notes")
    assert said in str(refused.value) and "\n" not in str(refused.value)


def test_lines_are_found_by_their_place(tmp_path: Path) -> None:
    lines = [json.dumps(line(note(60 + number, 0, 10), metadata={"é": "\u2028"})) for number in range(3)]
    (tmp_path / "a.jsonl").write_bytes(b"\xef\xbb\xbf" + f"{lines[0]}\n\n  \r\n{lines[1]}\r\n{lines[2]}".encode())
    (tmp_path / "b.jsonl").write_bytes(lines[0].encode() + b"\n\xff{}\n")
    dataset = aria_jsonl.build(AriaJsonlHParams(path=str(tmp_path)))
    dataset.prepare(tmp_path / "cache")
    items = list(dataset.items())
    assert [(Path(item.path).name, item.index) for item in items] == [("a.jsonl", n) for n in range(3)] + [
        ("b.jsonl", n) for n in range(2)
    ]
    assert [dataset.read(item).score.tracks[0].notes[0].pitch for item in items[:4]] == [60, 61, 62, 60]
    with pytest.raises(ValueError, match="it is not UTF-8"):
        dataset.read(items[4])
