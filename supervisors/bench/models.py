"""Which models are measured: the backbones and the peers that are asked for and installed, all of one size."""

from dataclasses import dataclass, fields

from core.errors import HubError, unknown
from hparams.bench import BenchHParams
from plugins.manager import Manager
from supervisors.bench.peers import PEERS, installed
from supervisors.bench.subjects import Spec
from supervisors.sizes import Shape, at, fit

REFERENCE = "mamba"  # whose size all others take
COMPARED = (REFERENCE, "transformer")  # measured in full, as what is asked for by name is
_SIZES = ("dim", "layers", "state", "heads", "hidden")  # fields that are told


@dataclass(frozen=True)
class Model:
    """A subject and the figures that it takes part in.

    One that is not `full` has the best precision alone, three samples, every other length, one row of decoding and no
    profile.
    """

    spec: Spec
    title: str
    parameters: int  # of the backbone of ours at this size; a peer's own are counted when it is built
    trains: bool = True
    sweeps: bool = True
    decodes: bool = True
    full: bool = True

    @property
    def name(self) -> str:
        """A backbone's or a peer's key."""
        return self.spec.name

    @property
    def shape(self) -> str:
        """The sizes in words; a peer has those of the backbone it is like."""
        sizes = {field.name: getattr(self.spec.hparams, field.name) for field in fields(self.spec.hparams)}
        return ", ".join(f"{key} {value}" for key, value in sizes.items() if key in _SIZES and value)


def choose(settings: BenchHParams, manager: Manager) -> tuple[list[Model], list[str]]:
    """The models, ours first, and remarks on those that are left out.

    HubError for a name that nobody bears, and for a backbone that was asked for by name and has no shape of that size.
    """
    asked, peers = _names(settings.backbones), _names(settings.peers)
    names = asked or list(manager.backbones)
    for name in peers:
        if name not in PEERS and peers != ["none"]:
            raise unknown("peer", name, [*PEERS, "none"])
    wanted = [] if peers == ["none"] else peers or list(PEERS)
    here = [name for name in wanted if installed(name, settings.device)]
    notes = []
    lacking = {PEERS[name].requires[-1] for name in wanted if name not in here and PEERS[name].device in ("", "cpu")}
    if lacking:
        notes.append(f"Not installed, and left out: {', '.join(sorted(lacking))} (pip install 'swaptunes[bench]').")

    reference = at(manager.backbones[REFERENCE], settings.vocabulary, dim=settings.dim, layers=settings.layers)
    shapes: dict[str, Shape] = {REFERENCE: reference}
    for name in [*names, *(PEERS[peer].like for peer in here)]:
        if name in shapes:
            continue
        entry = manager.backbones[name]
        try:
            shapes[name] = fit(entry, reference.parameters, settings.vocabulary, settings.dim)
        except HubError as error:
            if name in asked:
                raise
            notes.append(f"{name} is left out: {error}.")

    def spec(name: str, like: str, ours: bool) -> Spec:
        hparams = shapes[like].hparams
        return Spec(name, ours, hparams, settings.vocabulary, settings.threads, settings.device)

    full = {*COMPARED, *asked}
    models = [
        Model(spec(name, name, True), name, shapes[name].parameters, full=name in full)
        for name in names
        if name in shapes
    ]
    for name in here:
        peer = PEERS[name]
        if peer.like in shapes:
            size = shapes[peer.like].parameters
            takes = (peer.trains, peer.sweeps, peer.decodes, peer.like in full)
            models.append(Model(spec(name, peer.like, False), peer.title, size, *takes))
    return models, notes


def _names(text: str) -> list[str]:
    return list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
