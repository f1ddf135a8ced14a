"""A model that knows one song by heart is flagged; people's music that it never saw is not."""

from collections.abc import Iterable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import pytest
import torch

from core.contracts.dataset import Item
from core.model.generation import generate
from core.model.language_model import LanguageModel
from core.model.sampling import Sampling
from datatools.preparing.cache import TokenStore, prepare
from hparams.backbones.lstm import LstmHParams
from hparams.base import DataHParams
from hparams.tokenizers.note_tokens import TsdHParams
from plugins.manager import load_manager
from supervisors.evaluation.copies import copies
from supervisors.evaluation.melodies import lines
from tests.made_scores import tunes

HUMANS = 60


class OneSong:
    """One piece to train on, others to validate and test, all by one composer."""

    license, url = "made for this test", ""

    def __init__(self, root: Path) -> None:
        self.root, self.identity = root, f"one song {root}"

    def prepare(self, folder: Path) -> None:
        pass

    def fingerprint(self) -> str:
        return str(sorted(self.root.iterdir()))

    def items(self) -> Iterable[Item]:
        for number in range(2 * HUMANS + 1):
            split: Any = "train" if not number else "valid" if number <= HUMANS else "test"
            yield Item(str(self.root / f"{number:03d}.mid"), split=split)


@lru_cache(maxsize=1)
def tokenizer() -> Any:
    build: Any = load_manager().tokenizers["tsd"].build
    return build(TsdHParams())


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> TokenStore:
    root = tmp_path_factory.mktemp("song")
    for number, piece in enumerate(tunes(2 * HUMANS + 1, 100, 40)):
        piece.dump_midi(root / f"{number:03d}.mid")
    build: Any = partial(load_manager().tokenizers["tsd"].build, TsdHParams())  # type: ignore[arg-type]
    return prepare(OneSong(root), build, "tsd", DataHParams(workers=1), progress=False)


def learned_by_heart(store: TokenStore) -> LanguageModel:
    """A small LSTM trained on the one song until it knows it."""
    torch.manual_seed(0)
    build: Any = load_manager().backbones["lstm"].build
    model = LanguageModel(build(LstmHParams(dim=64, layers=1, dropout=0.0)), tokenizer().vocab_size)
    ids = torch.tensor([[tokenizer().bos_id, *store.ids("train", 0).tolist(), tokenizer().eos_id]])
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-2)
    for _ in range(300):
        loss = model.loss(ids[:, :-1], ids[:, 1:])[0].mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if loss < 0.02:
            return model
    raise AssertionError(f"the song is not known after 300 steps: {float(loss)} nats a token")


def test_a_model_that_knows_one_song_is_flagged_and_people_are_not(store: TokenStore) -> None:
    assert [store.count(split) for split in ("train", "valid", "test")] == [1, HUMANS, HUMANS]
    model, ends = learned_by_heart(store), tokenizer()
    sampling = Sampling(temperature=1.0, top_k=0, top_p=0.98, min_p=0.0, seed=0, repetition_penalty=1.0)
    made = generate(
        model, [[]] * 8, bos_id=ends.bos_id, eos_id=ends.eos_id, pad_id=ends.pad_id, length=200, sampling=sampling
    )
    drawn = [tokenizer().decode(piece.ids).score for piece in made]
    found, records = copies(store, tokenizer(), {"generated": drawn, "continued": tunes(20, 900, 40)}, 64.0)
    mine, people, others = (found[row] for row in ("generated", "human", "continued"))
    assert mine["copies"] and mine["flagged"]["count"] >= 7 and mine["p_value"] < 1e-6
    assert people["flagged"]["n"] == HUMANS and people["flagged"]["value"] <= 0.05 and not people["copies"]
    assert not others["copies"] and others["flagged"]["value"] <= 0.05
    nearest = mine["nearest"][0]
    assert nearest["training"] == store.pieces("train")[0].source and nearest["run"] > 0.8 * nearest["steps"]
    assert mine["value"] < 0.5 < people["value"] - 0.3
    assert len(records) == 8 + 20 + HUMANS and {record["row"] for record in records} == set(found) & {
        "generated",
        "continued",
        "human",
    }


def test_melodies_are_kept_beside_the_store_and_made_again_when_damaged(store: TokenStore) -> None:
    first = lines(store, tokenizer())
    path = store.folder / "melodies.npz"
    written = path.stat().st_mtime_ns
    again = lines(store, tokenizer())
    assert path.stat().st_mtime_ns == written
    path.write_bytes(path.read_bytes()[:100])
    for other in (again, lines(store, tokenizer())):
        for split, held in first.items():
            assert len(held) == store.count(split)
            for mine, theirs in zip(held, other[split], strict=True):
                assert mine[0].tolist() == theirs[0].tolist() and mine[1].tolist() == theirs[1].tolist()
