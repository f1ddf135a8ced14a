"""Repeat signs, endings and jumps of MusicXML, whichever part of the score they stand in."""

import re
from collections.abc import Callable
from xml.etree.ElementTree import Element

from datatools.reading.musicxml.attributes import number, shown
from datatools.reading.repeats import MOST_TIMES, Signs
from datatools.reading.written import Bar

_DA_CAPO = re.compile(r"(?:d\.? ?c\.?|da capo)(?: al (?:fine|coda)\.?)?", re.IGNORECASE)
_DAL_SEGNO = re.compile(r"(?:d\.? ?s\.?|dal segno)(?: al (?:fine|coda)\.?)?", re.IGNORECASE)
_TO_CODA = re.compile(r"(to|al) coda.?", re.IGNORECASE)
_FINE = re.compile(r"fine\.?", re.IGNORECASE)


def read_signs(measure: Element, index: int, bar: Callable[[int], Bar], ending: tuple[int, ...]) -> tuple[int, ...]:
    """Adds the bar lines' signs of measure `index` to its bar; gives and takes the ending that is still open."""
    signs = bar(index).signs
    closed = False
    for line in measure.findall("barline"):
        left = line.get("location") == "left"
        for element in line.findall("ending"):
            kind = element.get("type")
            if kind == "start":
                ending = _numbers(element)
                signs.ending, signs.begins_ending = ending, True
            elif left and kind in ("stop", "discontinue"):
                ending = ()  # it ended with the measure before
            else:
                closed = True
        for repeat in line.findall("repeat"):
            if repeat.get("direction") == "forward":
                bar(index if left or line.get("location") != "right" else index + 1).signs.forward = True
            elif index or not left:
                at = bar(index - left).signs
                at.times = int(number(repeat.get("times"), 0, MOST_TIMES, "number of playings") or 2)
                at.after_jump = repeat.get("after-jump") == "yes"
    if ending and not signs.ending:
        signs.ending = ending
    return () if closed or signs.times else ending


def _numbers(element: Element) -> tuple[int, ...]:
    """`1`, `1, 2`, `1-3` as numbers; 1 where there is none to be read."""
    found: list[int] = []
    for first, last in re.findall(r"(\d{1,2})(?:\s*-\s*(\d{1,2}))?", element.get("number") or element.text or ""):
        found += range(int(first), int(last or first) + 1)
    return tuple(one for one in found if 1 <= one <= MOST_TIMES) or (1,)


def sound_signs(element: Element, signs: Signs) -> None:
    """Adds the jumps of a `<direction>` or `<sound>`; its words and symbols count where it says nothing of sound."""
    sound = element if element.tag == "sound" else element.find("sound")
    told = False
    if sound is not None:
        told = any(name in sound.attrib for name in ("dacapo", "dalsegno", "segno", "coda", "tocoda", "fine"))
        if sound.get("dacapo") == "yes":
            signs.jump = "dc"
        if "dalsegno" in sound.attrib:
            signs.jump, signs.target = "ds", sound.get("dalsegno", "")
        if "segno" in sound.attrib:
            signs.segno = sound.get("segno") or "segno"
        signs.coda = signs.coda or "coda" in sound.attrib
        signs.to_coda = signs.to_coda or "tocoda" in sound.attrib
        signs.fine = signs.fine or "fine" in sound.attrib
    if told or element.tag == "sound":
        return
    if shown(element, "segno"):
        signs.segno = signs.segno or "segno"
    for words in shown(element, "words"):
        text = " ".join((words.text or "").split())
        if _DA_CAPO.fullmatch(text):
            signs.jump = "dc"
        elif _DAL_SEGNO.fullmatch(text):
            signs.jump = "ds"
        elif _TO_CODA.fullmatch(text):
            signs.to_coda = True
        elif _FINE.fullmatch(text):
            signs.fine = True
        elif text.lower() == "coda":
            signs.coda = True
