"""The supervisor: it keeps the laws, plays what is asked of its latent vectors, and refuses in one line."""

import functools
import hashlib
import json
import math
import re
import shutil
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from core.errors import HubError
from hparams.base import GenerateHParams, LatentHParams
from hparams.supervisors import MusicVaeHParams, PartHParams
from plugins.laws.supervisors.subject import SupervisorSubject, quiet
from plugins.manager import load_manager
from supervisors.language_model import LanguageModelSupervisor
from supervisors.music_vae import latents, supervisor
from supervisors.music_vae.latents import slerp
from supervisors.music_vae.measures import Window
from supervisors.music_vae.supervisor import MusicVaeSupervisor


@pytest.fixture(scope="module")
def subject() -> SupervisorSubject:
    own = MusicVaeHParams(latent=4, hierarchical=True, encoder=PartHParams(dim=8), free_bits=1)
    return SupervisorSubject(MusicVaeSupervisor, own)


@pytest.fixture
def run(subject: SupervisorSubject) -> Iterator[Any]:
    """A trained run; what a test asks of it is forgotten afterwards."""
    supervisor = subject.whole
    before = supervisor.hparams.generate.latent, supervisor.hparams.generate.count
    yield supervisor
    supervisor.hparams.generate.latent, supervisor.hparams.generate.count = before


def test_its_evaluation_bounds_what_its_pieces_cost(run: Any) -> None:
    with quiet():
        result = run.evaluate()
    told, latent = result["valid"], result["valid"]["latent"]
    assert latent["elbo"] == pytest.approx(-(latent["reconstruction"] + latent["divergence"]))
    assert told["nats_per_token"] * told["tokens"] == pytest.approx(-latent["elbo"] * latent["windows"])
    assert 0 <= latent["sampled_accuracy"] <= 1 and 0 < latent["step_accuracy"] <= 1
    lines = [json.loads(line) for line in (run.folder.report / "pieces.jsonl").open()]
    assert sum(line["nats"] for line in lines if line["split"] == "valid") == pytest.approx(
        told["nats_per_token"] * told["tokens"]
    )
    assert "step accuracy" in run.summary(result)


def played(run: Any, folder: Path, count: int = 3, **asked: Any) -> list[list[int]]:
    """The ids of the pieces, drawn greedily from what is asked of the latent vectors."""
    generate = run.hparams.generate
    generate.latent, generate.count, generate.temperature = LatentHParams(**asked), count, 0.0
    shutil.rmtree(folder, ignore_errors=True)
    with quiet():
        files = run.generate(folder)
    return [json.loads(path.with_suffix(".json").read_text())["tokens"] for path in files]


def test_the_mean_of_a_folder_is_over_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("long.mid", "short.mid", "worse.txt"):
        (tmp_path / name).touch()
    found = {"long.mid": torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 3.0]]), "short.mid": torch.tensor([[5.0, 1.0]])}

    def encoded(model: Any, tokenizer: Any, path: Path) -> torch.Tensor:
        if path.name not in found:
            raise ValueError("no music")
        return found[path.name]

    monkeypatch.setattr(latents, "encoded", encoded)
    anything: Any = None
    assert latents._mean(anything, anything, tmp_path).tolist() == [2.0, 1.0]  # of four windows
    assert latents._mean(anything, anything, tmp_path / "long.mid").tolist() == [1.0, 1.0]


def test_it_draws_decodes_leads_over_and_adds(run: Any, tmp_path: Path) -> None:
    free = played(run, tmp_path / "free")
    assert [len(piece) for piece in free] == [32] * 3
    first, last = str(tmp_path / "free" / "0.mid"), str(tmp_path / "free" / "1.mid")
    again, to = played(run, tmp_path / "a", 2, source=first), played(run, tmp_path / "b", 1, source=last)
    assert again[0] == again[1], "one vector, the likeliest tokens"
    way = played(run, tmp_path / "way", 5, source=first, target=last)
    assert way[0] == again[0] and way[-1] == to[0]
    folder = tmp_path / "with"
    folder.mkdir()
    shutil.copy(last, folder)
    more = played(run, tmp_path / "more", 1, source=first, attribute=[str(folder), first])
    assert more == to, "first + (last - first)"
    less = played(run, tmp_path / "less", 1, source=first, attribute=[str(folder), first], amount=0.0)
    assert less == again[:1]


def test_a_validation_weighs_what_diverges_beyond_the_free_bits_and_divides_by_tokens() -> None:
    nats = ([1.0, 2.0], [3.0, 4.0, 5.0])
    windows = [Window(0, np.zeros(len(n)), np.array(n), d, 1, None) for n, d in zip(nats, (9.0, 1.0), strict=True)]
    asked: list[Any] = []
    hparams = load_manager().preset("music_vae")
    hparams.evaluate.tokens = 77
    run: Any = SimpleNamespace(
        whole_model=lambda: "a model", windows=lambda *given: asked.append(given) or windows, hparams=hparams,
        own=MusicVaeHParams(beta=0.5, free_bits=2),
    )  # fmt: skip
    found = MusicVaeSupervisor.validate(run)
    assert found["valid_loss"] == pytest.approx((15 + 0.5 * (9 - 2 * math.log(2))) / 5)  # 1 nat is less than 2 bits
    assert (found["valid_elbo"], found["valid_divergence"], found["valid_step_accuracy"]) == (-7.5 - 5, 5.0, 2 / 5)
    assert asked == [("a model", "valid", 77)]


def test_vectors_are_drawn_by_seed_and_row_or_taken_from_files(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"a": torch.tensor([[1.0, 0.0], [2.0, 0.0]]), "b": torch.tensor([[0.0, 1.0], [0.0, 4.0], [9.0, 9.0]])}
    monkeypatch.setattr(latents, "_of_file", lambda model, tokenizer, key, path: files[path.name])
    model: Any = SimpleNamespace(latent=2)

    def wanted(count: int, seed: int = 0, **asked: Any) -> torch.Tensor:
        wish = GenerateHParams(count=count, seed=seed, latent=LatentHParams(**asked))
        return latents.wanted(model, None, wish)  # type: ignore[arg-type]

    drawn = wanted(3, seed=5)
    for row in range(3):
        digest = hashlib.blake2b(f"5\x1flatent\x1f{row}".encode(), digest_size=8).digest()
        rng = np.random.Generator(np.random.Philox(int.from_bytes(digest, "little") >> 1))
        assert drawn[row, 0].tolist() == pytest.approx(rng.standard_normal(2).tolist(), rel=1e-6)
    assert drawn.shape == (3, 1, 2) and torch.equal(wanted(2, seed=5), drawn[:2])
    assert wanted(3, source="a").tolist() == [files["a"].tolist()] * 3
    way = wanted(3, source="a", target="b")
    assert way.shape == (3, 2, 2) and torch.allclose(way[0], files["a"]) and torch.allclose(way[2], files["b"][:2])
    assert wanted(2, source="b", target="a").shape == (2, 2, 2), "the shorter of both says how many windows"
    assert way[1].tolist()[0] == pytest.approx([math.sqrt(0.5)] * 2), "half of the way"
    with pytest.raises(HubError, match=r"generate\.count is 1; expected at least 2 pieces on the way"):
        wanted(1, source="a", target="b")
    more = wanted(1, source="a", attribute=["b", "a"], amount=-2.0)  # means (3, 14/3) and (1.5, 0)
    assert more[0, 0].tolist() == pytest.approx([1 - 2 * 1.5, -2 * 14 / 3])


def test_pieces_of_several_windows_are_told_by_the_number_of_their_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []

    def sample(model: Any, vectors: Any, sampling: Any, **given: Any) -> torch.Tensor:
        told.append((len(vectors), list(given["rows"]), given["grammar"], sampling.top_k))
        return torch.arange(6)[:, None].repeat(1, 4)

    monkeypatch.setattr(supervisor, "sample", sample)
    monkeypatch.setattr(supervisor.latents, "wanted", lambda *given: torch.zeros(2, 3, 5))
    monkeypatch.setattr(supervisor, "write_pieces", lambda *given, ends: told.append((*given[2:5], ends)) or [])
    sounds: list[int] = [1]
    tokenizer = SimpleNamespace(
        grammar=lambda bars: f"{bars} bars", vocab_size=9, pad_id=6, bos_id=7, eos_id=8,
        decode=lambda ids: SimpleNamespace(score=SimpleNamespace(note_num=lambda: sounds[0])),
    )  # fmt: skip
    model: Any = SimpleNamespace(bars=2, tokens=4)
    model.eval = lambda: model
    hparams = load_manager().preset("music_vae")
    hparams.generate.top_k = 3
    run: Any = SimpleNamespace(
        load_best=lambda: model, hparams=hparams, ranks=SimpleNamespace(first=True), tokenizer=tokenizer,
        best={"step": 40.0}, folder=SimpleNamespace(samples=tmp_path),
    )  # fmt: skip
    run.insist_windows = functools.partial(MusicVaeSupervisor.insist_windows, run)
    for source in ("", "a.mid"):  # a file may be silent for a window
        hparams.generate.latent = LatentHParams(source=source)
        MusicVaeSupervisor.generate(run)
        rows, (made, numbers, folder, ends) = told[-2:]
        assert rows == (6, list(range(6)), None if source else "2 bars", 3)
        assert [piece.ids for piece in made] == [[0] * 4 + [1] * 4 + [2] * 4, [3] * 4 + [4] * 4 + [5] * 4]
        assert list(numbers) == [0, 3] and folder == tmp_path / "step_000040" and not made[0].ended
        assert ends == ["6 bars, as its windows have"] * 2  # three windows a piece
    sounds[0] = 0
    with pytest.raises(HubError, match="2 of 2 pieces have no note"):
        MusicVaeSupervisor.generate(run)
    for key, good, bad, said in (
        ("bars", (0, 2), 3, r"generate\.bars is 3; this model's windows have 2 bars"),
        ("length", (4, 9), 3, r"generate\.length is 3; a window of this model has 4 tokens"),
    ):
        before = getattr(hparams.generate, key)
        for value in good:
            setattr(hparams.generate, key, value)
            run.insist_windows(model)
        setattr(hparams.generate, key, bad)
        with pytest.raises(HubError, match=said):
            run.insist_windows(model)
        setattr(hparams.generate, key, before)


def test_the_way_between_two_vectors_is_an_arc() -> None:
    a, b = torch.tensor([[1.0, 0.0], [2.0, 0.0]]), torch.tensor([[0.0, 1.0], [4.0, 0.0]])
    half = slerp(a, b, 0.5)
    assert half[0].tolist() == pytest.approx([math.sqrt(0.5)] * 2), "45 degrees on the unit circle"
    assert half[1].tolist() == pytest.approx([3.0, 0.0]), "one direction: along the line"
    assert slerp(a, b, 1 / 3)[0].tolist() == pytest.approx([math.cos(math.pi / 6), math.sin(math.pi / 6)])


def test_three_parts_share_a_window(tmp_path: Path) -> None:
    subject = SupervisorSubject(MusicVaeSupervisor, MusicVaeHParams(bars=1, latent=4))
    hparams = subject.hparams()
    hparams.tokenizer, hparams.train.engine = load_manager().section("tokenizer", "trio"), "torch"
    supervisor = MusicVaeSupervisor(hparams, subject.manager, tmp_path / "run")
    with quiet():
        supervisor.load_data()
        supervisor.build_model()
        assert supervisor.train_step(0)["loss"] == pytest.approx(math.log(2 * 130 + 512 + 3), rel=0.1)
        supervisor.concluded, supervisor.best = supervisor.model, {"step": 0}
        files = supervisor.generate(tmp_path / "out")
    tokens = json.loads(files[0].with_suffix(".json").read_text())["tokens"]
    assert [sum(id >= start for start in (0, 130, 260)) for id in tokens] == [1, 2, 3] * 16, "each part in turn"


def refused(run: Any, **settings: Any) -> str:
    run.hparams = deepcopy(run.hparams)
    for key, value in settings.items():
        parent: Any = run.hparams
        *path, last = key.split("__")
        for part in path:
            parent = getattr(parent, part)
        setattr(parent, last, value)
    with pytest.raises(HubError) as error:
        run.insist_fits()
        run.make_model(run.hparams)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"supervisor__bars": 16}, r"supervisor\.bars is 16, 256 tokens .*data\.length=256"),
        ({"supervisor__encoder": PartHParams(backbone="transformer", dim=30)}, r"supervisor\.encoder: backbone\.dim"),
        ({"supervisor__conductor": PartHParams(backbone="lsm")}, r'no backbone "lsm"\. Did you mean "lstm"'),
    ],
)
def test_what_does_not_fit_is_told_with_its_key(
    subject: SupervisorSubject, settings: dict[str, Any], said: str
) -> None:
    tokenizer, fresh = subject.whole.tokenizer, subject.run("refused")
    fresh.tokenizer = tokenizer
    assert re.search(said, refused(fresh, **settings))


def test_a_tokenizer_without_bars_of_one_length_is_refused(subject: SupervisorSubject) -> None:
    fresh = subject.run("refused")
    message = refused(fresh, tokenizer=load_manager().section("tokenizer", "remi"))
    assert "does not tell every bar in as many tokens" in message


def test_latent_vectors_are_refused_where_there_are_none(subject: SupervisorSubject, tmp_path: Path) -> None:
    hparams = load_manager().preset("tiny")
    hparams.generate.latent = LatentHParams(source="a.mid")
    with pytest.raises(HubError, match=r"generate\.latent\.source is 'a\.mid', and .* has no latent vectors"):
        LanguageModelSupervisor(hparams, load_manager(), tmp_path).insist_fits()


def test_what_cannot_be_played_is_told_with_its_key(run: Any, tmp_path: Path) -> None:
    with pytest.raises(HubError, match=r"generate\.latent\.source: .*none\.mid cannot be encoded"):
        played(run, tmp_path / "x", source=str(tmp_path / "none.mid"))
    run.hparams.generate.prompt = "a.mid"
    with pytest.raises(HubError, match=r"generate\.prompt: .*generate\.latent\.source=FILE"):
        played(run, tmp_path / "x")
    run.hparams.generate.prompt = ""
    with pytest.raises(ValueError, match=r"generate\.latent\.target is 'b'; expected a source= beside it"):
        LatentHParams(target="b")
    with pytest.raises(ValueError, match=r"generate\.latent\.attribute"):
        LatentHParams(attribute=["a"])
