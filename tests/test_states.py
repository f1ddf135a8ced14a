"""What is done to the state of any backbone, on one made by hand."""

import torch

from core.contracts import backbone


def test_a_state_is_selected_forked_moved_and_weighed() -> None:
    state = {"h": torch.arange(6.0).reshape(3, 2), "length": torch.tensor([4, 5, 6])}
    chosen = backbone.select(state, [2, 0, 2])
    assert chosen["h"].tolist() == [[4.0, 5.0], [0.0, 1.0], [4.0, 5.0]] and chosen["length"].tolist() == [6, 4, 6]
    assert torch.equal(backbone.select(state, torch.tensor([1]))["h"], state["h"][1:2])

    copy = backbone.fork(state)
    copy["h"] += 1
    copy["length"] += 1
    assert state["h"].tolist() == [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]] and state["length"].tolist() == [4, 5, 6]

    moved = backbone.to(state, "cpu", torch.float64)
    assert {key: value.dtype for key, value in moved.items()} == {"h": torch.float64, "length": torch.int64}
    assert backbone.to(state, "cpu")["h"].dtype == torch.float32
    assert backbone.nbytes(state) == 6 * 4 + 3 * 8
