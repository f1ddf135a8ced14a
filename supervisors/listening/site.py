"""The folder of a listening test: a page and its sounds, to be served by anything, and apart from it what they are.

site/index.html and site/audio/ are for participants; key.json, which says what each clip is, stays outside site/.
"""

import hashlib
import json
import wave
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import symusic

from core.errors import HubError
from core.files import atomic, write_json, write_text
from core.words import counted
from datatools.writing import sound
from datatools.writing.page import page
from hparams.listen import ListenHParams
from supervisors.listening.design import Clip, clips, pairs_orders, ratings_orders

LOUDNESS = 0.08  # root mean square of every clip, of a full scale of 1
FADE = 0.5  # seconds
CHECK = "2"  # what the trial without music asks for


def write(systems: Mapping[str, Sequence[symusic.Score]], asked: ListenHParams, folder: Path) -> Path:
    """Makes the test of `asked.pieces` pieces of each system in `folder`; returns the page.

    HubError when a system has too few pieces with notes, or the folder holds another test already.
    """
    for name, scores in systems.items():
        if len(scores) < asked.pieces:
            few = counted(len(scores), "piece")
            raise HubError(f"{name} has {few} with notes; expected listen.pieces, {asked.pieces}")
    if (folder / "key.json").exists():
        raise HubError(f"{folder} holds a listening test already; give another name=")
    found = clips(list(systems), asked.pieces, asked.seed)
    for clip in found:
        samples = levelled(sound.render(systems[clip.system][clip.piece]), asked.seconds)
        _save(samples, folder / "site" / "audio" / f"{clip.name}.wav")
    test = _test(found, asked)
    write_json(
        folder / "key.json",
        {
            "format": 1,
            "test": test["id"],
            "kind": asked.kind,
            "scales": list(asked.scales),
            "clips": {clip.name: {"system": clip.system, "piece": clip.piece} for clip in found},
        },
    )
    script = (Path(__file__).parent / "test.js").read_text(encoding="utf-8")
    body = (
        "<p>You will hear short pieces of music and say what you think of each. Nothing tells who or what made them. "
        'Please use headphones, in a quiet place.</p><form id="begin"><label>Your code, or any name '
        '<input id="code" required maxlength="60" autocomplete="off"></label> <button>Begin</button></form>'
        f'<div id="trial"></div><p id="note" role="status"></p><script id="test" type="application/json">'
        f"{json.dumps(test).replace('<', chr(92) + 'u003c')}</script><script>{script}</script>"
    )
    path = folder / "site" / "index.html"
    write_text(path, page.page(escape("Listening test"), body))
    return path


def _test(found: Sequence[Clip], asked: ListenHParams) -> dict[str, Any]:
    orders: Any = pairs_orders(found, asked.seed) if asked.kind == "pairs" else ratings_orders(found, asked.seed)
    names = "".join(sorted(clip.name for clip in found))
    identity = hashlib.sha256(f"{asked.kind}{names}".encode()).hexdigest()[:12]
    return {
        "id": identity,
        "kind": asked.kind,
        "scales": list(asked.scales),
        "orders": orders,
        "training": orders[0][0],
        "check": CHECK if asked.kind == "ratings" else "no preference",
    }


def levelled(samples: sound.Sound, seconds: float) -> sound.Sound:
    """The first seconds of a sound, faded at their end, as loud as every other clip; never beyond full scale."""
    part = samples[: int(seconds * sound.RATE)].copy()
    fade = min(int(FADE * sound.RATE), len(part))
    if fade and len(part) < len(samples):
        part[len(part) - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)[:, None]
    sounding = part[np.abs(part).max(axis=1) > 1e-3]  # silence is not to make the rest louder
    level = float(np.sqrt(np.mean(sounding**2))) if len(sounding) else 0.0
    if level:
        part *= LOUDNESS / level
    peak = float(np.abs(part).max(initial=0))
    return part / np.float32(peak) if peak > 1 else part


def _save(samples: sound.Sound, path: Path) -> None:
    mono = (samples.mean(axis=1) * 32767).astype("<i2")
    with atomic(path) as temporary, wave.open(str(temporary), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sound.RATE)
        file.writeframes(mono.tobytes())
