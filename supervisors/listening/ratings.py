"""Answers of participants: taken by the local server into SQLite, or collected as JSON files that pages download."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from core.errors import HubError
from core.log import logger
from core.words import counted
from supervisors.listening.statistics import Preference, Rating

DATABASE = "ratings.db"
MOST_BYTES = 1 << 20  # of one participant's answers
STEPS = ("1", "2", "3", "4", "5")
WON = {"A": 1.0, "no preference": 0.5, "B": 0.0}


def store(folder: Path, text: bytes) -> str:
    """Takes one participant's answers so far; returns the participant. ValueError for what is no such thing.

    What is stored is on the disk before this returns; later answers of a participant replace earlier ones, never fewer.
    """
    tree = checked(text)
    with closing(sqlite3.connect(folder / DATABASE, timeout=30)) as base, base:
        base.execute("PRAGMA synchronous = FULL")
        base.execute(
            "CREATE TABLE IF NOT EXISTS ratings (test TEXT, participant TEXT, answers INTEGER, body TEXT, "
            "PRIMARY KEY (test, participant))"
        )
        base.execute(
            "INSERT INTO ratings VALUES (?, ?, ?, ?) ON CONFLICT (test, participant) DO UPDATE "
            "SET answers = excluded.answers, body = excluded.body WHERE excluded.answers >= ratings.answers",
            (tree["test"], tree["participant"], len(tree["answers"]) + len(tree["checks"]), json.dumps(tree)),
        )
    return str(tree["participant"])


def checked(text: bytes) -> dict[str, Any]:
    """The answers as a tree; ValueError naming what is wrong with them."""
    if len(text) > MOST_BYTES:
        raise ValueError(f"the answers have {len(text):,} bytes; expected at most {MOST_BYTES:,}")
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError("the answers are no JSON") from error
    if not isinstance(tree, dict) or tree.get("format") != 1:
        raise ValueError("the answers are not of format 1")
    for key, kind in (("test", str), ("participant", str), ("answers", list), ("checks", list)):
        if not isinstance(tree.get(key), kind):
            raise ValueError(f"the answers have no {key}")
    for key, parts in (("answers", {"clips": list, "values": dict}), ("checks", {"values": dict})):
        for number, one in enumerate(tree[key], 1):
            if not (isinstance(one, dict) and all(isinstance(one.get(name), kind) for name, kind in parts.items())):
                raise ValueError(f"number {number} of the {key} has no {' or no '.join(parts)}")
    return tree


def _fits(tree: dict[str, Any], key: dict[str, Any]) -> str:
    """Why answers of the right form are none to this test, or nothing."""
    if tree["test"] != key["test"]:
        return "it answers another test"
    wanted = 2 if key["kind"] == "pairs" else 1
    for number, answer in enumerate(tree["answers"], 1):
        unknown = [clip for clip in answer["clips"] if not isinstance(clip, str) or clip not in key["clips"]]
        if unknown or len(answer["clips"]) != wanted:
            clips = counted(len(answer["clips"]), "clip")
            return f"answer {number} names {clips}, {len(unknown)} of them not of this test"
        if wanted == 2 and "preference" not in answer["values"]:
            return f"answer {number} has no preference"
        for scale, value in answer["values"].items():
            if not _possible(scale, value):
                return f"answer {number} says {json.dumps(value)[:40]} for {scale}"
    if any(value != check.get("asked") for check in tree["checks"] for value in check["values"].values()):
        return "its attention check failed"
    return ""


def _possible(scale: str, value: Any) -> bool:
    """Whether a page can have sent this: a preference, a step from 1 to 5, or nothing where nothing was said."""
    if scale == "preference":
        return isinstance(value, str) and value in WON
    return value is None or str(value) in STEPS


def collected(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The key of a test and every participant's answers, from the database and from files; the longest of each.

    Files that are no answers, answers to another test and failed checks are named and left out.
    """
    try:
        key = json.loads((folder / "key.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise HubError(f"{folder} holds no listening test: key.json cannot be read ({error})") from error
    found: dict[str, dict[str, Any]] = {}
    for source, text in _texts(folder):
        try:
            tree = checked(text)
        except ValueError as error:
            logger.warning("%s is left out: %s", source, error)
            continue
        if why := _fits(tree, key):
            logger.warning("%s is left out: %s", source, why)
        elif len(tree["answers"]) >= len(found.get(tree["participant"], {"answers": []})["answers"]):
            found[tree["participant"]] = tree
    if not found:
        raise HubError(f"{folder} has no ratings yet; put the downloaded .json files there, or serve the test")
    return key, [found[name] for name in sorted(found)]


def _texts(folder: Path) -> Iterator[tuple[str, bytes]]:
    if (folder / DATABASE).exists():
        with closing(sqlite3.connect(folder / DATABASE)) as base:
            for participant, body in base.execute("SELECT participant, body FROM ratings ORDER BY participant"):
                yield f"participant {participant}", body.encode()
    for path in sorted(folder.rglob("*.json")):
        if path.name not in ("key.json", "results.json"):
            yield str(path), path.read_bytes()


def ratings_of(key: dict[str, Any], answers: list[dict[str, Any]], scale: str) -> list[Rating]:
    """All ratings on one scale."""
    return [
        Rating(tree["participant"], key["clips"][answer["clips"][0]]["system"], answer["clips"][0], float(value))
        for tree in answers
        for answer in tree["answers"]
        if (value := answer["values"].get(scale)) is not None
    ]


def preferences_of(key: dict[str, Any], answers: list[dict[str, Any]]) -> list[Preference]:
    """All answers to paired trials."""
    found = []
    for tree in answers:
        for answer in tree["answers"]:
            first, second = (key["clips"][clip]["system"] for clip in answer["clips"])
            found.append(Preference(tree["participant"], first, second, WON[answer["values"]["preference"]]))
    return found
