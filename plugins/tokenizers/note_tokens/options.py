"""From hyper-parameters to MidiTok's configuration, and from MidiTok's tokenizer to the grid of its vocabulary."""

import inspect
import sys
from collections.abc import Mapping
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np

from core.errors import HubError
from core.names import did_you_mean
from hparams.following import left_open
from hparams.tokenizers.note_tokens import MidiTokHParams
from plugins.tokenizers.note_tokens.grid import Grid

SPECIALS = ("PAD", "BOS", "EOS")
NO_SHIFT = "0.0.1"  # what Structured says between notes that begin together
# Options of TokenizerConfig that would break the contract, each with the reason.
_REFUSED = {
    "special_tokens": "the hub adds PAD, BOS and EOS itself",
    "one_token_stream_for_programs": "a piece is one stream of tokens; set tokenizer.use_programs",
    "max_bar_embedding": "MidiTok writes numbered bars but cannot read them",
    "remove_duplicated_notes": "notes of one pitch and onset are always merged",
    "delete_equal_successive_tempo_changes": "repeated tempos are always left out",
    "delete_equal_successive_time_sig_changes": "repeated meters are always left out",
}
# Parameters that REMI takes beside those of TokenizerConfig.
_REMI_OPTIONS = ("use_bar_end_tokens", "add_trailing_bars", "max_bar_embedding")
# Options whose tokens the grammar does not know.
_NO_GRAMMAR = (
    "use_rests",
    "use_chords",
    "use_pitch_intervals",
    "use_sustain_pedals",
    "use_pitch_bends",
    "use_control_changes",
    "program_changes",
)


def library() -> Any:
    """The module miditok without what nothing of ours uses, which would cost each worker more than its music: PyTorch
    for loaders of its own, and a client of the web for tokenizers that others share. Who wants these imports miditok
    first; who imports `huggingface_hub` or `miditok.pytorch_data` later still gets it."""
    if {"miditok", "torch", "huggingface_hub"} & sys.modules.keys():
        return import_module("miditok")
    client = ModuleType("huggingface_hub")
    vars(client).update(ModelHubMixin=type("ModelHubMixin", (), {}), hf_hub_download=None)
    # An import of the loaders fails, which miditok allows for.
    sys.modules |= {"miditok.pytorch_data": None, client.__name__: client}  # type: ignore[dict-item]
    try:
        return import_module("miditok")
    finally:
        del sys.modules["miditok.pytorch_data"], sys.modules[client.__name__]


def config(hparams: MidiTokHParams, kind: str) -> Any:
    """MidiTok's TokenizerConfig; HubError for an option that it does not know or that cannot work."""
    TokenizerConfig = library().TokenizerConfig
    typed = {key: value for key, value in vars(hparams).items() if key not in ("name", "bpe", "vocabulary", "options")}
    typed |= dict.fromkeys(left_open(hparams), False)  # until the data are known
    known = set(inspect.signature(TokenizerConfig.__init__).parameters) - {"self", "kwargs"}
    known |= set(_REMI_OPTIONS) if kind == "REMI" else set()
    for key in hparams.options:
        if key in typed:
            raise HubError(f"tokenizer.options.{key} is set; set tokenizer.{key} instead")
        if key not in known:
            raise HubError(f'MidiTok knows no option "{key}" (tokenizer.options).{did_you_mean(key, known)}')
        if key in _REFUSED:
            raise HubError(f"tokenizer.options.{key} cannot be used: {_REFUSED[key]}")
        if key.startswith("ac_") and hparams.options[key] is True and hparams.use_programs is True and kind != "MMM":
            raise HubError(
                f"tokenizer.options.{key} cannot be used with tokenizer.use_programs: it is of a single track"
            )
    typed["beat_res"] = _stretches(hparams.beat_res)
    typed["time_signature_range"] = {int(k): list(v) for k, v in hparams.time_signature_range.items()}
    options: dict[str, Any] = {
        key: tuple(v) if isinstance(v, (list, tuple)) else v for key, v in hparams.options.items()
    }
    if "beat_res_rest" in options:
        options["beat_res_rest"] = _stretches(options["beat_res_rest"])
    elif hparams.use_rests:
        # MidiTok's own default is finer than a coarse beat_res allows, and then refused.
        finest = max(hparams.beat_res.values())
        options["beat_res_rest"] = {(0, 12): finest}
    if "chord_maps" in options:
        options["chord_maps"] = {name: tuple(steps) for name, steps in options["chord_maps"].items()}
    try:
        return TokenizerConfig(special_tokens=list(SPECIALS), **typed, **options)
    except (TypeError, ValueError) as error:
        raise HubError(f"MidiTok refuses the tokenizer's options: {' '.join(str(error).split())}") from error


def _stretches(positions: Mapping[str, int]) -> dict[tuple[int, int], int]:
    pairs = [(tuple(int(end) for end in str(key).split("_")), int(value)) for key, value in positions.items()]
    return {(pair[0], pair[1]): value for pair, value in sorted(pairs)}


def without_grammar(options: Any) -> list[str]:
    """The options that are on and whose tokens the grammar does not know."""
    on = [option for option in _NO_GRAMMAR if getattr(options, option, False)]
    on += [option for option in _REMI_OPTIONS if options.additional_params.get(option)]
    if len(options.use_note_duration_programs) < 129:
        on.append("use_note_duration_programs")
    return on


def refuse_marks(options: Any, name: str, but: str = "") -> None:
    """HubError for an option that is on, `but` one, and whose tokens are lost on `name`, which tells notes alone."""
    on = [option for option in without_grammar(options) if option != but]
    if on:
        raise HubError(f"tokenizer.options.{on[0]} cannot be used: {name} tells notes and nothing else")


def grid_of(tok: Any) -> Grid:
    """What the vocabulary of MidiTok's tokenizer can tell."""
    options = tok.config
    meters = tuple(tok.time_signatures) if options.use_time_signatures else ()
    units = {unit for _, unit in tok.time_signatures} | {4}
    low, high = options.pitch_range
    drums = (low, high)
    if options.use_pitchdrum_tokens:  # MidiTok reads drums within both ranges
        drums = (max(low, options.drums_pitch_range[0]), min(high, options.drums_pitch_range[1]))
    extras = options.use_sustain_pedals or options.use_pitch_bends or options.use_control_changes
    return Grid(
        ticks=int(tok.time_division),
        positions=int(options.max_num_pos_per_beat),
        meters=meters,
        durations={
            unit: np.array(sorted(set(tok._tpb_to_time_array[tok._tpb_per_ts[unit]].tolist())), dtype=np.int64)
            for unit in units
        },
        pitches=(low, high),
        drum_pitches=drums,
        programs=frozenset(options.programs) if options.use_programs else None,
        velocities=np.asarray(tok.velocities, dtype=np.int64) if options.use_velocities else None,
        velocity=100,  # what MidiTok gives to notes without
        tempos=np.asarray(tok.tempos) if options.use_tempos else None,
        tempo=float(tok.default_tempo),
        keys=bool(options.use_key_signatures),
        rests=bool(options.use_rests),
        untimed=frozenset(range(-1, 128)) - frozenset(options.use_note_duration_programs),
        untimed_beats=float(options.default_note_duration),
        extras=bool(extras),
        free=bool(tok._note_on_off),
        shifts=_only_shifts(tok),
    )


def _only_shifts(tok: Any) -> Any:
    """Ticks of the shifts of a vocabulary that tells each time between onsets by one token."""
    if f"TimeShift_{NO_SHIFT}" not in tok.vocab or "Bar_None" in tok.vocab:
        return None
    return np.array(sorted(set(tok._tpb_to_time_array[tok.time_division].tolist())), dtype=np.int64)
