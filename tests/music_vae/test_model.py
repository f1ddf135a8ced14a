"""The model: no token tells itself, bars begin anew, drawing agrees with learning, and any backbone serves.

Shapes: b windows, n tokens of a window, z latent numbers.
"""

import hashlib
import math
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from core.model.sampling import Sampling
from hparams.supervisors import MusicVaeHParams
from plugins.manager import load_manager
from supervisors.music_vae import measures
from supervisors.music_vae.drawing import sample
from supervisors.music_vae.measures import scored
from supervisors.music_vae.model import Encoder, MusicVae
from supervisors.music_vae.places import Dealt
from supervisors.music_vae.supervisor import Bound

VOCABULARY, BOS, BARS, BAR = 20, 18, 3, 4
BACKBONES = sorted(load_manager().backbones)
SMALL: dict[str, dict[str, Any]] = {"hybrid": {"pattern": "ma", "heads": 2, "hidden": 32}}


def backbone(name: str, layers: int = 1) -> Any:
    manager = load_manager()
    section = manager.section("backbone", name)
    wishes = {"dim": 32, "layers": layers, "dropout": 0.0, "heads": 2, "head": 16, "hidden": 0, "positions": 64}
    for key, value in {**wishes, **SMALL.get(name, {})}.items():
        if hasattr(section, key):
            setattr(section, key, value)
    section.__post_init__()
    return manager.make("backbone", section)


def model(name: str = "gru", hierarchical: bool = False) -> MusicVae:
    torch.manual_seed(0)
    made = MusicVae(
        (backbone(name), backbone(name)),
        backbone(name),
        backbone(name) if hierarchical else None,
        vocabulary=VOCABULARY,
        bos_id=BOS,
        bars=BARS,
        bar_tokens=BAR,
        latent=6,
        tie=False,
    )
    return made.double().eval()


def windows(rows: int = 2) -> torch.Tensor:
    return torch.randint(0, 17, (rows, BARS * BAR), generator=torch.Generator().manual_seed(1))


def leaks(made: MusicVae) -> bool:
    """Whether a token changes what is told of itself or of one before it."""
    ids, latent = windows(), torch.randn(2, 6, dtype=torch.float64)
    before = made.decode(made.inputs(ids), latent)
    for place in range(ids.shape[1]):
        other = ids.clone()
        other[:, place] = (other[:, place] + 1) % 17
        if not torch.equal(made.decode(made.inputs(other), latent)[:, : place + 1], before[:, : place + 1]):
            return True
    return False


@pytest.mark.parametrize("hierarchical", [False, True])
def test_no_token_tells_itself(hierarchical: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    made = model("transformer", hierarchical)
    assert not leaks(made)

    def unshifted(ids: torch.Tensor) -> torch.Tensor:
        """Bos at the first of every bar alone."""
        told = ids.clone()
        told[:, ::BAR] = BOS
        return told

    monkeypatch.setattr(made, "inputs", unshifted)
    assert leaks(made)


def test_of_the_bars_before_nothing_but_the_last_token_passes() -> None:
    made, latent = model("transformer", hierarchical=True), torch.randn(2, 6, dtype=torch.float64)
    ids = windows()
    before = made.decode(made.inputs(ids), latent)
    ids[:, BAR - 2] = (ids[:, BAR - 2] + 1) % 17
    assert torch.equal(made.decode(made.inputs(ids), latent)[:, BAR:], before[:, BAR:])
    ids[:, BAR - 1] = (ids[:, BAR - 1] + 1) % 17
    assert not torch.allclose(made.decode(made.inputs(ids), latent)[:, BAR], before[:, BAR])


@pytest.mark.parametrize("name", ["lstm", "mamba2", "transformer"])
def test_bars_of_their_own_are_one_row_with_starts(name: str) -> None:
    made, latent, ids = model(name, hierarchical=True), torch.randn(2, 6, dtype=torch.float64), windows()
    starts = (torch.arange(BARS * BAR) % BAR == 0).expand(2, -1)
    x = made.decoder.embedding(made.inputs(ids)) + made.plan(latent)
    hidden, _ = made.decoder.backbone(x, None, starts)
    torch.testing.assert_close(made.decode(made.inputs(ids), latent), made.decoder.logits(hidden), atol=1e-9, rtol=1e-9)


def test_the_encoder_gathers_a_bidirectional_lstm() -> None:
    torch.manual_seed(0)
    forth, back = backbone("lstm"), backbone("lstm")
    ours = Encoder(forth, back, VOCABULARY, 12, 6).double()
    theirs = nn.LSTM(32, 32, batch_first=True, bidirectional=True).double()
    weights = {
        name + end: value
        for end, one in (("", forth), ("_reverse", back))
        for name, value in one.layers[0].state_dict().items()
    }
    theirs.load_state_dict(weights)
    ids, lengths = windows(3), torch.tensor([12, 5, 1])
    x = nn.utils.rnn.pack_padded_sequence(ours.embedding(ids), lengths, batch_first=True)
    found, _ = nn.utils.rnn.pad_packed_sequence(theirs(x)[0], batch_first=True)  # zero behind the end
    both = torch.einsum("bnw,nw->bw", found, ours.gathered.patterns.weight) / math.sqrt(12)
    mean, scale = ours(ids, lengths)
    torch.testing.assert_close(mean, ours.mean(both))
    torch.testing.assert_close(scale, torch.log1p(ours.scale(both).exp()))
    ids[1, 5:] = 3
    assert torch.equal(ours(ids, lengths)[0], mean), "padding is not read"


def test_what_is_dealt_is_a_map_of_its_own_for_each_place() -> None:
    torch.manual_seed(0)
    dealt, x = Dealt(6, 5, 8, 0.2).double(), torch.randn(2, 3, 6).double()
    first, last = dealt.first.weight, dealt.last.weight
    for place, pattern in enumerate(dealt.patterns.weight):
        torch.testing.assert_close(dealt(x)[:, :, place], x @ (last @ pattern.diag() @ first).T)


def test_a_conductor_is_dealt_the_vector_bar_by_bar_and_the_decoder_its_bars() -> None:
    made, latent = model("gru", hierarchical=True), torch.randn(2, 6, dtype=torch.float64)
    conductor: Any = made.conductor
    outputs, _ = conductor.backbone(conductor.dealt(latent[:, None])[:, 0])
    of_bars = outputs / (outputs.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    for bar in range(BARS):
        told = made.plan(latent)[:, bar * BAR : (bar + 1) * BAR]
        torch.testing.assert_close(told, made.dealt(of_bars[:, bar : bar + 1])[:, 0])
    flat = model("gru")
    told = flat.plan(latent)
    assert torch.equal(told[:, :BAR], told[:, BAR : 2 * BAR]), "without a conductor, the same in every bar"


def test_bfloat16_stays_within_autocast() -> None:
    for hierarchical in (False, True):
        made, ids = model(hierarchical=hierarchical).float(), windows()
        batches = [{"ids": ids, "targets": ids, "places": [(0, 0), (1, 0)]}]
        found = scored(made, batches, torch.autocast("cpu", torch.bfloat16), music=range(17))
        assert [0 <= (one.drawn_right or 0) <= BARS * BAR for one in found] == [True, True]


def test_the_cost_of_a_batch_is_that_of_a_twin() -> None:
    made, ids = model(hierarchical=True), windows()
    targets = ids.clone()
    targets[1, 9:] = -100
    noise = torch.randn(2, 6, dtype=torch.float64)
    hparams = MusicVaeHParams(beta=0.5, beta_rate=0.9, free_bits=0.5)
    with torch.no_grad():
        batch = {"ids": ids, "targets": targets, "noise": noise, "step": torch.tensor(3)}
        found = float(Bound(made, hparams, torch.device("cpu"), torch.float32)(batch))
        mean, scale = (part.numpy() for part in made.encoder(ids, torch.tensor([12, 9])))
        logits = made.decode(made.inputs(ids), torch.from_numpy(mean + scale * noise.numpy())).numpy()
    expected = 0.0
    for row, length in enumerate((12, 9)):
        for place in range(length):
            line = logits[row, place].astype(np.float64)
            expected += np.log(np.exp(line).sum()) - line[ids[row, place]]
        cost = sum(-np.log(s) + (s * s + m * m) / 2 - 0.5 for m, s in zip(mean[row], scale[row], strict=True))
        expected += 0.5 * (1 - 0.9**3) * max(cost - 0.5 * np.log(2), 0)
    assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("hierarchical", [False, True])
@pytest.mark.parametrize("name", BACKBONES)
def test_any_backbone_learns_and_draws(name: str, hierarchical: bool) -> None:
    made, ids = model(name, hierarchical), windows()
    with torch.no_grad():  # some begin with maps that are zero
        for parameter in made.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    batch = {"ids": ids, "targets": ids, "noise": torch.randn(2, 6).double(), "step": torch.tensor(10**6)}
    batch["chance"] = torch.rand(2, 2, BARS * BAR)
    Bound(made, MusicVaeHParams(scheduled_sampling=10), torch.device("cpu"), torch.float32)(batch).backward()
    dead = [key for key, value in made.named_parameters() if value.grad is None or not value.grad.abs().sum()]
    assert not dead
    latent = torch.randn(2, 6).double()
    greedy = {"sampling": Sampling(temperature=0), "music": range(VOCABULARY)}
    drawn = sample(made, latent, rows=[0, 1], **greedy)
    with torch.no_grad():
        assert torch.equal(made.decode(made.inputs(drawn), latent).argmax(-1), drawn), "step by step equals whole"


def test_a_window_s_figures_are_those_of_its_one_draw_and_of_its_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    made, ids = model(), windows()
    targets = ids.clone()
    targets[1, 9:] = -100
    batches = [{"ids": ids, "targets": targets, "places": [(3, 0), (5, 12)]}]
    rows: list[Any] = []

    def drawing(model: MusicVae, mean: torch.Tensor, sampling: Sampling, **given: Any) -> torch.Tensor:
        rows.append((list(given["rows"]), sampling, list(given["music"])))
        return sample(model, mean, sampling, **given)

    monkeypatch.setattr(measures, "sample", drawing)
    assert scored(made.eval(), batches, nullcontext())[0].drawn_right is None and not made.training and not rows
    found = scored(made.train(), [*batches, *batches], nullcontext(), music=range(17))
    assert rows == [([0, 1], Sampling(), list(range(17))), ([2, 3], Sampling(), list(range(17)))]
    assert made.training and [window.piece for window in found] == [3, 5, 3, 5]
    made.eval()
    with torch.no_grad():
        mean, scale = made.encoder(ids, torch.tensor([12, 9]))
        for row, (place, length) in enumerate((((3, 0), 12), ((5, 12), 9))):
            digest = hashlib.blake2b(f"bound\x1f{place[0]}\x1f{place[1]}".encode(), digest_size=8).digest()
            noise = np.random.Generator(np.random.Philox(int.from_bytes(digest, "little") >> 1)).standard_normal(6)
            latent = mean[row] + scale[row] * torch.from_numpy(noise)
            inputs = made.inputs(ids[row : row + 1])
            logits = made.decode(inputs, latent[None])[0].log_softmax(-1)
            nats = [-float(logits[k, ids[row, k]]) for k in range(length)]
            assert found[row].nats.tolist() == pytest.approx(nats, rel=1e-6)
            likeliest = made.decode(inputs, mean[row : row + 1])[0].argmax(-1)
            assert found[row].right == sum(int(likeliest[k] == ids[row, k]) for k in range(length))
            cost = sum(-np.log(float(s)) + float(s * s + m * m) / 2 - 0.5 for m, s in zip(mean[row], scale[row]))
            assert found[row].divergence == pytest.approx(cost, rel=1e-5)
        drawn = sample(made, mean, Sampling(), music=range(17), rows=[2, 3])
    assert [one.drawn_right for one in found[2:]] == (drawn == targets).sum(1).tolist(), "windows are rows one by one"


def test_a_window_is_drawn_alone_as_among_others() -> None:
    made, latent = model(hierarchical=True), torch.randn(3, 6).double()
    together = sample(made, latent, Sampling(seed=5), music=range(17), rows=[0, 1, 2])
    assert torch.equal(sample(made, latent[2:], Sampling(seed=5), music=range(17), rows=[2])[0], together[2])
    assert int(together.max()) < 17, "music alone is drawn"


def test_mixed_inputs_hold_what_was_drawn_one_place_later() -> None:
    made, ids = model(), windows()
    bound = Bound(made, MusicVaeHParams(scheduled_sampling=10), torch.device("cpu"), torch.float32)
    latent, inputs = torch.randn(2, 6).double(), made.inputs(ids)
    chance = torch.rand(2, 2, BARS * BAR)
    assert torch.equal(bound.mixed(inputs, latent, chance, torch.tensor(0.0)), inputs)
    drawn = bound.mixed(inputs, latent, chance, torch.tensor(1.0))
    assert (drawn[:, 0] == BOS).all()
    shares = made.decode(inputs, latent).softmax(-1)
    for row in range(2):
        for place in range(BARS * BAR - 1):
            below = shares[row, place, : drawn[row, place + 1]].sum()
            assert below <= chance[1, row, place] + 1e-6
            assert chance[1, row, place] <= below + shares[row, place, drawn[row, place + 1]] + 1e-6
