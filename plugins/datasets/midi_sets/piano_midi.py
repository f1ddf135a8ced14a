"""piano-midi.de: classical piano pieces by Bernd Krueger, played bar by bar on a keyboard."""

from collections.abc import Callable

from hparams.datasets import PianoMidiHParams
from plugins import hookimpl
from plugins.datasets.midi_sets.files import Facts, Files

FACTS = Facts(
    name="piano_midi",
    license="CC BY-SA 3.0 DE",
    url="http://www.piano-midi.de",
    expected="the folder of its MIDI files, one folder a composer or all in one (http://www.piano-midi.de/midicoll.htm)",
    takes=lambda path: not path.endswith("_format0.mid"),
    leaves="the same pieces again (_format0.mid)",
)


def build(hparams: PianoMidiHParams) -> Files:
    return Files(FACTS, hparams.path)


@hookimpl
def register_datasets(register: Callable[..., None]) -> None:
    register("piano_midi", PianoMidiHParams, build)
