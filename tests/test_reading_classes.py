"""Why readers differ is told by a text that says the same otherwise: small scores that verovio plays as we do not."""

from pathlib import Path

import pytest

from tests import readers

METER = "<attributes><divisions>1</divisions><time><beats>4</beats><beat-type>4</beat-type></time></attributes>"
REST = "<note><rest/><duration>4</duration><voice>1</voice><type>whole</type></note>"


def note(step: str, before: str = "", after: str = "", length: str = "<duration>4</duration>") -> str:
    pitch = f"<pitch><step>{step}</step><octave>4</octave></pitch>"
    return f"<note>{before}{pitch}{length}<voice>1</voice><type>whole</type>{after}</note>"


STOP = note("D", length="<duration>4</duration><tie type='stop'/>", after="<notations><tied type='stop'/></notations>")
TREMOLO = note("D", after="<notations><ornaments><tremolo>3</tremolo></ornaments></notations>")
ROLLED = "<notations><arpeggiate/></notations>"
CASES = [
    ("measure", "verovio", ((note("C"), REST + REST, note("E")), (note("G"), note("A"), note("B")))),
    ("tie", "music21", ((note("C"), STOP, note("E")),)),
    ("tremolo", "verovio", ((note("C"), TREMOLO, note("E")),)),
    ("arpeggiate", "verovio", ((note("C", after=ROLLED) + note("E", "<chord/>", ROLLED), note("G")),)),
    ("grace", "verovio", ((note("C"), note("B", "<grace/>", length="") + note("D"), note("E")),)),
]


@pytest.mark.parametrize(("name", "reader", "parts"), CASES)
def test_a_class_writes_out_what_the_standard_says(
    name: str, reader: str, parts: tuple[tuple[str, ...], ...], tmp_path: Path
) -> None:
    """Once its paragraph is written out the reader plays as we do; for a note that nobody wrote there is no class."""
    if reader not in readers.installed():
        pytest.skip(f"{reader}, which this compares with, is not installed")
    path, made = tmp_path / "small.musicxml", ""
    for at, part in enumerate(parts):
        inside = "".join(f"<measure number='{number}'>{one}</measure>" for number, one in enumerate(part, 1))
        made += f"<part id='P{at}'>{inside.replace('>', f'>{METER}', 1)}</part>"
    names = "".join(f"<score-part id='P{at}'><part-name>a</part-name></score-part>" for at in range(len(parts)))
    path.write_text(f"<score-partwise><part-list>{names}</part-list>{made}</score-partwise>")
    assert readers.explained(path, readers.installed()[reader][1]).endswith(f"({name})")
    assert not readers.explained(path, lambda file: readers.Counter({(0, 1): 1}))


TUNES = [
    ("|: C4 |1 D4 :|2 E4 :| F4 |", "4.9"),
    ("|: C4 |]\n|: D4 :|", "4.8"),
    ("(5CDEFG D2 |", "4.13"),
    ("[CC]2 D2 |", "4.17"),
    ("+CE+ D2 |", "12.1.3"),
    ("[CE]<D3 C |", "4.4"),
]


@pytest.mark.parametrize(("music", "paragraph"), TUNES)
def test_a_tune_that_abc2midi_plays_otherwise_has_a_paragraph(music: str, paragraph: str, tmp_path: Path) -> None:
    if "abc2midi" not in readers.installed():
        pytest.skip("abc2midi, which this compares with, is not installed")
    path = tmp_path / "tune.abc"
    path.write_text(f"X:1\nT:tune\nM:3/4\nL:1/4\nK:C\n{music}\n")
    assert f"(ABC {paragraph})" in readers.explained(path, readers.by_abc2midi)
