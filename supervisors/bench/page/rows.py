"""From cells to the figures that are compared: ours, the peer's, and the ratio."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from supervisors.bench.cells import Cell
from supervisors.bench.models import COMPARED
from supervisors.bench.peers import PEERS
from supervisors.bench.worker import MATRIX

LLAMA = ("transformers_llama", "transformers_llama_static")
LATE, EARLY = 8192, 256  # the contexts at which the cost of a token is compared
CACHED = 2048  # the context at which attention is compared


@dataclass(frozen=True)
class Row:
    """`ratio` is ours over the peer's, of the medians; `bound` is "at least" where the peer could not be measured as
    asked and would be slower still."""

    figure: str
    ours: float
    peer: float
    ratio: float
    unit: str
    peer_name: str
    bound: str = ""


class Cells:
    """Cells by what they measure."""

    def __init__(self, cells: Iterable[Cell]) -> None:
        self.all = list(cells)

    def find(self, kind: str, subject: str, precision: str, length: int, batch: int | None = None) -> Cell | None:
        """The cell that has samples, or None."""
        for cell in self.all:
            same = (cell.kind, cell.subject, cell.precision, cell.length) == (kind, subject, precision, length)
            if same and cell.samples and batch in (None, cell.batch):
                return cell
        return None

    def rate(self, precision: str) -> Cell | None:
        """The matrix rate."""
        return next((c for c in self.all if c.subject == MATRIX and c.precision == precision and c.samples), None)

    def faster(self, cells: Iterable[Cell | None]) -> Cell | None:
        """The cell of the largest median."""
        return max((cell for cell in cells if cell), key=lambda cell: cell.median or 0.0, default=None)


def rows(cells: list[Cell], parameters: dict[str, int], length: int, precisions: list[str]) -> list[Row]:
    """All comparisons that the cells allow, in a fixed order."""
    return list(_rows(Cells(cells), parameters, length, precisions))


def _rows(found: Cells, parameters: dict[str, int], length: int, precisions: list[str]) -> Iterator[Row]:
    def train(name: str, precision: str, at: int = length) -> Cell | None:
        return found.find("train", name, precision, at)

    for name in ("mambapy", "transformers_mambapy", "transformers_mamba"):
        yield from _ratio("Mamba training, fp32", train("mamba", "fp32"), train(name, "fp32"))
    yield from _ratio(
        "Mamba training, each in its best precision",
        found.faster(train("mamba", precision) for precision in precisions),
        found.faster(train("mambapy", precision) for precision in precisions),
    )
    for precision in precisions:
        ours, rate = train("mamba", precision), found.rate(precision)
        if ours and rate and ours.whole and ours.median and rate.median:
            flops = 6 * parameters["mamba"] * ours.median
            yield Row(
                f"Mamba training, {precision}, model FLOP/s over the matrix rate",
                flops,
                rate.median,
                flops / rate.median,
                "FLOP/s",
                f"matrix rate ({rate.best_by})",
            )
    for at in (length, 4 * length):
        for precision in precisions:
            mamba, llama = train("mamba", precision, at), train(LLAMA[0], precision, at)
            transformer = train("transformer", precision, at)
            where = f"training, {precision}, length {at:,}"
            yield from _ratio(f"Mamba {where}", mamba, transformer)
            yield from _ratio(f"Mamba {where}", mamba, llama)
            yield from _ratio(f"Transformer {where}", transformer, llama)
    for name, other in PEERS.items():
        if other.like not in COMPARED and other.trains:
            best = precisions[-1]
            yield from _ratio(f"{other.like} training, {best}", train(other.like, best), train(name, best))
    ours, peer = train("mamba", "fp32"), train("mambapy", "fp32")
    if ours and peer and ours.peak_bytes and peer.peak_bytes:
        yield Row(
            "peak memory of the Mamba step, fp32",
            ours.peak_bytes,
            peer.peak_bytes,
            ours.peak_bytes / peer.peak_bytes,
            "bytes",
            "mambapy",
            "" if peer.whole else f"peer at length {peer.measured}",
        )
    for batch in sorted({cell.batch for cell in found.all if cell.kind == "decode"}):
        pair = (found.find("decode", name, "fp32", length, batch) for name in ("mamba", "transformers_mamba"))
        yield from _ratio(f"Mamba decoding, batch {batch}, context {length:,}", *pair)
    late, early = (found.find("decode", "mamba", "fp32", at, 1) for at in (LATE, EARLY))
    if late and early and late.median and early.median:
        yield Row(
            f"cost of token {LATE:,} against token {EARLY}, Mamba, batch 1",
            1 / late.median,
            1 / early.median,
            early.median / late.median,
            "s",
            "itself",
        )
    yield from _ratio(
        f"Transformer decoding, batch 1, context {CACHED:,}",
        found.find("decode", "transformer", "fp32", CACHED, 1),
        found.faster(found.find("decode", name, "fp32", CACHED, 1) for name in LLAMA),
    )


def _ratio(figure: str, ours: Cell | None, peer: Cell | None) -> Iterator[Row]:
    """Tokens a second of both, where both were measured; ours must be as asked."""
    if ours and peer and ours.whole and ours.median and peer.median:
        bound = "" if peer.whole else f"peer at length {peer.measured}: it falls with length"
        yield Row(figure, ours.median, peer.median, ours.median / peer.median, "tokens/s", peer.subject, bound)
