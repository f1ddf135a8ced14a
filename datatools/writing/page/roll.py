"""A piece on a page: its piano roll as SVG, its notes for the page's player, its engraved score.

Units: seconds along, MIDI pitches up; the roll is 1000 wide, whatever the piece lasts.
"""

import json
from html import escape

import symusic

from core.errors import HubError
from core.log import warn_once
from core.words import counted
from datatools.writing import engraving
from datatools.writing.instruments import label
from datatools.writing.pianoroll import colour

MOST_NOTES = 20_000  # of one piece; a longer one is shown from its beginning, and that is said
MOST_ENGRAVED = 600  # notes; a longer score makes a heavy page


def section(
    score: symusic.Score, name: str, title: str, facts: str = "", given: float = 0.0, *, engraved: bool = True
) -> str:
    """HTML of one piece: heading, play button, roll, legend and, where it can be engraved, the score.

    `name` is the element's id, `facts` a line beside the heading, `given` the seconds of a prompt, shaded in the roll;
    `engraved` asks for the score.
    """
    seconds = score.to("second")
    notes = sorted(
        (round(n.time, 3), round(n.duration, 3), n.pitch, n.velocity, number)
        for number, track in enumerate(seconds.tracks)
        for n in track.notes
    )
    cut = f" The first {MOST_NOTES:,} of {len(notes):,} notes." if len(notes) > MOST_NOTES else ""
    notes = notes[:MOST_NOTES]
    whole = max((start + length for start, length, *_ in notes), default=1.0)
    drums = [number for number, track in enumerate(seconds.tracks) if track.is_drum]
    data = json.dumps({"notes": notes, "seconds": round(whole, 3), "drums": drums}, separators=(",", ":"))
    legend = "".join(
        f'<span><i style="background:{colour(number)}"></i>{escape(label(track))}</span>'
        for number, track in enumerate(score.tracks)
    )
    shown = _engraved(score, title) if engraved else ""
    return (
        f'<section data-piece id="{name}"><div class="bar"><h2>{escape(title)}</h2>'
        f'<button class="play" aria-pressed="false">Play</button><span class="clock">0.0 s</span>'
        f'<span class="facts">{escape(facts + cut)}</span></div>{_roll(score, notes, whole, given)}'
        f'<div class="legend">{legend}</div>{shown}<script type="application/json">{data}</script></section>'
    )


def _roll(score: symusic.Score, notes: list[tuple[float, float, int, int, int]], whole: float, given: float) -> str:
    pitches = [note[2] for note in notes] or [60]
    low, high = min(pitches) - 1, max(max(pitches), min(pitches) + 12) + 1
    height = high - low + 1
    scale = 1000 / whole
    drums = {number for number, track in enumerate(score.tracks) if track.is_drum}
    shapes = [
        f'<rect x="{start * scale:.2f}" y="{high - pitch}" height="0.9" '
        + ('width="2" class="drum" ' if track in drums else f'width="{max(length * scale * 0.94, 0.8):.2f}" ')
        + f'fill="{colour(track)}" opacity="{0.45 + 0.55 * velocity / 127:.2f}"/>'
        for start, length, pitch, velocity, track in notes
    ]
    until = f"{given * scale:.2f}"
    shade = (
        f'<rect class="given" x="0" y="0" width="{until}" height="{height}"/>'
        f'<line class="end" x1="{until}" x2="{until}" y1="0" y2="{height}"/>'
        if given
        else ""
    )
    told = f"{counted(len(notes), 'note')} in {counted(round(whole), 'second')}"
    return (
        f'<svg class="roll" viewBox="0 0 1000 {height}" preserveAspectRatio="none" role="img" '
        f'aria-label="piano roll, {told}">{shade}{"".join(shapes)}'
        f'<line class="cursor" x1="0" x2="0" y1="0" y2="{height}"/></svg>'
    )


def _engraved(score: symusic.Score, title: str) -> str:
    if sum(len(track.notes) for track in score.tracks) > MOST_ENGRAVED:
        return ""
    try:
        page = engraving.svg(score, title)
    except HubError as error:
        warn_once(f"pages without engraved scores: {error}")
        return ""
    except ValueError:  # off the grid: a performance has no score
        return ""
    return f'<details><summary>Score</summary><div class="score">{page[page.index("<svg") :]}</div></details>'
