"""The modules of the plugins that ship with the hub; another's are found by entry point and need no line here."""

BUILT_IN = (
    "supervisors.next_token",
    "supervisors.music_vae",
    "plugins.backbones",
    *(
        f"plugins.tokenizers.{name}"
        for name in ("remi", "tsd", "abc", "grid", "midilike", "structured", "performance_240", "performance_388")
    ),
    *(f"plugins.tokenizers.{name}" for name in ("melody", "trio", "octuple", "cpword", "pertok", "mmm", "mumidi")),
    *(
        f"plugins.datasets.midi_sets.{name}"
        for name in ("lakh", "los_angeles_midi", "piano_midi", "asap", "nottingham", "midicaps", "aria_midi")
    ),
    *(f"plugins.datasets.records.{name}" for name in ("folk_rnn", "irishman", "gigamidi", "aria_jsonl")),
    "plugins.datasets.essen",
    *(
        f"plugins.datasets.{name}"
        for name in ("bach_chorales", "folk_tunes", "folder", "jsb_chorales", "maestro", "pop909")
    ),
    *(
        f"plugins.metrics.{name}"
        for name in ("pitch", "rhythm", "polyphony", "repetition", "originality", "decodability")
    ),
    *(f"plugins.metrics.{name}" for name in ("pitch_class_distance", "note_duration_distance", "harmonic_distance")),
    *(f"plugins.metrics.{name}" for name in ("overlap_area", "frechet", "roll_surprise")),
    *(f"plugins.controls.{name}" for name in ("density", "key", "density_seconds", "pitch_histogram", "label", "text")),
    "hparams.presets",
)
