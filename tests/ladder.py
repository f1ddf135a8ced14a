"""The sanity ladder of every backbone: `python -m tests.ladder [NAME[,key=value...] ...] [seed=0] [write=true]`.

Without a name, those of ASKED. `write=true` puts each row into plugins/backbones/README.md as soon as it is known, in
the place of the one that stands there; the others stay. It is a measurement and no test: it takes minutes.

Columns: what `check NAME ladder=true` gives for each task, in bold where it is passed; whether `originality` flags what
the model that learned a song by heart plays from its first note; parameters; minutes of the processor.
"""

import sys
import time
from typing import Any

import symusic
import torch

from hparams.loading import section_of_words
from plugins.ladder.climb import Rung, climb
from plugins.ladder.tasks import TASKS, one_song, random_notes
from plugins.manager import load_manager
from plugins.metrics.originality import originality
from tests.made_scores import line, score
from tests.readme_pages import block

ASKED = (
    *("mamba", "mamba2", "mamba3", "mamba3,a_activation=heavy_tail", "mamba3,rank=2"),
    *("gated_deltanet", "gated_deltanet,allow_neg_eigval=true", "rwkv7", "mlstm"),
    *("transformer", "gpt2", "music_transformer", "lstm", "gru", "attentive_gru", "hybrid,pattern=ma"),
)
HEAD = ["backbone", *(task.name for task in TASKS), "flagged", "parameters", "seed", "minutes"]


@torch.inference_mode()
def played(model: Any, first: int, length: int) -> list[int]:
    """The first token and `length` more, each the likeliest."""
    ids = [first]
    for _ in range(length):
        ids.append(int(model(torch.tensor([ids]))[0][0, -1].argmax()))
    return ids


def notes(ids: Any) -> symusic.Score:
    """A sixteenth each, a semitone a token."""
    return score(line([48 + int(id) for id in ids], 0.25))


def flagged(model: Any, seed: int) -> bool:
    """Whether `originality` flags what the model plays after the song's first note, the song being a training piece."""
    draws = torch.Generator().manual_seed(seed)
    (song,), _ = one_song(1, 64, draws)
    others, _ = random_notes(8, 64, draws)
    made = notes(played(model, int(song[0]), len(song) - 1))
    found = originality([made], [], training=[notes(song), *map(notes, others)])
    return bool(found["flagged"]["value"])


def row(name: str, rungs: list[Rung], song: bool, parameters: int, seed: int, minutes: float) -> str:
    """A line of the table."""
    cells = []
    for rung in rungs:
        told = f"{rung.nats:.3f} nats" if rung.task.draw is random_notes else f"{rung.accuracy:.1%}"
        cells.append(f"**{told}**" if rung.passed else told)
    cells += ["yes" if song else "no", f"{parameters:,}", str(seed), f"{minutes:.1f}"]
    return f"| `{name.replace(',', ' ')}` | {' | '.join(cells)} |"


def placed(page: str, cells: str) -> str:
    """The table with a row in the place of the one of its name, or at its end."""
    name = cells.split("|")[1]
    lines = [each for each in page.splitlines() if each.startswith("|")]
    lines = lines or [f"| {' | '.join(HEAD)} |", "|---" * len(HEAD) + "|"]
    where = next((k for k, each in enumerate(lines) if each.split("|")[1] == name), len(lines))
    return "\n".join([*lines[:where], cells, *lines[where + 1 :]]) + "\n"


def main(words: list[str]) -> None:
    """Prints the rows, and writes them where asked."""
    settings = dict(word.split("=", 1) for word in words if word.startswith(("seed=", "write=")))
    seed, write = int(settings.get("seed", 0)), settings.get("write") == "true"
    manager = load_manager()
    for name in [word for word in words if word.partition("=")[0] not in settings] or ASKED:
        entry = manager.backbones[name.split(",")[0]]
        assert entry.build is not None and entry.hparams is not None
        start = time.process_time()
        rungs = list(climb(entry.build, section_of_words(entry.hparams(), name.split(",")[1:]), seed))
        minutes = (time.process_time() - start) / 60
        model = next(rung.model for rung in rungs if rung.task.draw is one_song)
        cells = row(name, rungs, flagged(model, seed), sum(p.numel() for p in model.parameters()), seed, minutes)
        print(cells, flush=True)
        if write:
            path, found = block("ladder")
            begin, end = found.span(1)
            page = found.string[:begin] + placed(found[1], cells) + found.string[end:]
            path.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
