"""Hyper-parameters of the built-in datasets."""

from dataclasses import dataclass
from typing import Literal


@dataclass(kw_only=True)
class BachChoralesHParams:
    """The chorales of J. S. Bach in the corpus of the package music21, from MusicXML."""

    name: Literal["bach_chorales"] = "bach_chorales"
    # Whether to take settings with instruments or a fifth voice too; false: those written for exactly four parts.
    accompanied: bool = False


@dataclass(kw_only=True)
class FolkTunesHParams:
    """Dance tunes in the corpus of the package music21: Ryan's Mammoth, O'Neill's 1850 and Aird's Airs, from ABC."""

    name: Literal["folk_tunes"] = "folk_tunes"


@dataclass(kw_only=True)
class FolderHParams:
    """A person's own folder of music, searched recursively."""

    name: Literal["folder"] = "folder"
    # The folder; required.
    path: str = ""


@dataclass(kw_only=True)
class JsbChoralesHParams:
    """J. S. Bach's chorales in four voices of sixteenths, with the published split of 229, 76 and 77 pieces."""

    name: Literal["jsb_chorales"] = "jsb_chorales"
    # Jsb16thSeparated.json, or a folder or archive that holds it; empty: download it once.
    path: str = ""


@dataclass(kw_only=True)
class MaestroHParams:
    """MAESTRO v3.0.0, piano performances as MIDI, with the published split; not for commercial use."""

    name: Literal["maestro"] = "maestro"
    # The folder maestro-v3.0.0, an archive of it, or a folder of archives; empty: download it once (58 MB).
    path: str = ""


@dataclass(kw_only=True)
class Pop909HParams:
    """POP909, piano arrangements of pop songs, split by song."""

    name: Literal["pop909"] = "pop909"
    # The folder POP909, an archive of it, or a folder of archives; required.
    path: str = ""
    # Whether to take the 1,989 earlier takes of the songs too, each on its song's side.
    versions: bool = False


@dataclass(kw_only=True)
class LakhHParams:
    """Lakh MIDI, LMD-full or LMD-matched, split by md5, versions of a song together."""

    name: Literal["lakh"] = "lakh"
    # The folder or an archive of it; required.
    path: str = ""


@dataclass(kw_only=True)
class LosAngelesMidiHParams:
    """Los Angeles MIDI, files named by md5, which decides their side; not for commercial use."""

    name: Literal["los_angeles_midi"] = "los_angeles_midi"
    # The folder or an archive of it; required.
    path: str = ""


@dataclass(kw_only=True)
class PianoMidiHParams:
    """piano-midi.de, classical piano pieces."""

    name: Literal["piano_midi"] = "piano_midi"
    # The folder of MIDI files or an archive of it; required.
    path: str = ""


@dataclass(kw_only=True)
class AsapHParams:
    """ASAP, piano performances, those of one work together; not for commercial use."""

    name: Literal["asap"] = "asap"
    # The folder asap-dataset or an archive of it; required.
    path: str = ""


@dataclass(kw_only=True)
class NottinghamHParams:
    """The Nottingham database of dance tunes with chords."""

    name: Literal["nottingham"] = "nottingham"
    # The folder nottingham-dataset or an archive of it; required.
    path: str = ""


@dataclass(kw_only=True)
class FolkRnnHParams:
    """Token lines of folk-rnn, versions 2 and 3, a tune a line."""

    name: Literal["folk_rnn"] = "folk_rnn"
    # A file of lines, a folder of such files, or an archive; required. Files named train, valid, test are these sides.
    path: str = ""


@dataclass(kw_only=True)
class IrishmanHParams:
    """Irishman and its like: JSON of tunes as ABC."""

    name: Literal["irishman"] = "irishman"
    # A JSON file, a folder of such files, or an archive; required. Files named train and validation are these sides.
    path: str = ""


@dataclass(kw_only=True)
class AriaJsonlHParams:
    """Music that the toolkit aria keeps as JSON lines."""

    name: Literal["aria_jsonl"] = "aria_jsonl"
    # A JSONL file or a folder of such files; required. Files named train and validation are these sides.
    path: str = ""


@dataclass(kw_only=True)
class EssenHParams:
    """The Essen folk song collection in the corpus of the package music21, from ABC."""

    name: Literal["essen"] = "essen"


@dataclass(kw_only=True)
class MidiCapsHParams:
    """MidiCaps, files of Lakh MIDI with captions and features that controls can ask for."""

    name: Literal["midicaps"] = "midicaps"
    # The folder that holds train.json, and midicaps.tar.gz or lmd_full; required.
    path: str = ""


@dataclass(kw_only=True)
class AriaMidiHParams:
    """Aria-MIDI, transcribed piano recordings with composers and genres; not for commercial use."""

    name: Literal["aria_midi"] = "aria_midi"
    # The folder or an archive of it, of which the MIDI files and metadata.json are read; required.
    path: str = ""


@dataclass(kw_only=True)
class GigaMidiHParams:
    """GigaMIDI, MIDI files in tables of Parquet, with the published split; not for commercial use."""

    name: Literal["gigamidi"] = "gigamidi"
    # A file .parquet, or a folder of such files; required.
    path: str = ""
