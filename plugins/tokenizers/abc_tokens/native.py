"""The tables of the abc grammar for its compiled step (abc.cpp beside it)."""

from pathlib import Path

from plugins.tokenizers.abc_tokens import effects as places
from plugins.tokenizers.abc_tokens.effects import FOREVER, MULTI, SINGLE, VOICINGS, Kind
from plugins.tokenizers.abc_tokens.rules import FILL, MOST_CHORD, MOST_GRACES, NEED, Rules
from plugins.tokenizers.abc_tokens.state import HELD, Fields
from plugins.tokenizers.abc_tokens.vocabulary import VOICES
from plugins.tokenizers.compiled import Tables

_PLACES = ("HEAD_M", "HEAD_L", "HEAD_K", "BAR", "METER", "KEY", "TUPLET", "GRACED", "EVENT", "SIZED", "TIED")
_NUMBERS = ("none", "plain", "situations", "same_row", "rest_size")
_ARRAYS = ("kind", "code", "leads", "voicing", "step", "base", "alter", "tuplet_r", "lengths", "mark", "column")
_LENGTHS = ("spans", "rests", "least", "needs", "need_row", "even")


def native_tables(rules: Rules) -> Tables:
    """The compiled step."""
    tables, effects = rules.tables, rules.effects
    symbols = {"bar": "|", "rest": "z", "open": "[", "close": "]", "grace": "{", "ungrace": "}", "tie": "-"}
    kinds = ("meter", "unit", "key", "voice", "tuplet", "length", "pitch")
    return Tables(
        Path(__file__).with_name("abc.cpp"),
        {
            "size": tables.size,
            "eos_id": rules.eos_id,
            "bars": rules.bars,
            "length": rules.length,
            "steps": tables.steps,
            "meters": len(rules.meter_ticks),
            "units": effects.no_unit,
            "keys": len(tables.key_alters),
            "pitches": len(rules.pitch_step),
            **{name: tables.id[word] for name, word in symbols.items()},
            **{f"first_{kind}": getattr(tables, f"{kind}s" if kind != "pitch" else "pitches").start for kind in kinds},
            **{name: getattr(effects, name) for name in (*_NUMBERS, *_ARRAYS, *_LENGTHS)},
            "is_signed": effects.signed,
            "flags": effects.flags,
            "flag_count": effects.flags.shape[1],
            "key_alters": effects.alters,
            "need": NEED,
            "limits": rules.limits,
            "meter_ticks": rules.meter_ticks,
            **{name: getattr(rules, name) for name in ("pitch_step", "pitch_signed", "pitch_base", "pitch_alter")},
        },
        {
            **{f"F_{name}": index for index, name in enumerate(Fields._fields)},
            "FIELDS": len(Fields._fields),
            **{name: getattr(places, name) for name in (*_PLACES, "CHORD", "GRACE", "VOICE")},
            "SINGLE": SINGLE,
            "MULTI": MULTI,
            "VOICINGS": VOICINGS,
            "FOREVER": FOREVER,
            "METER_WORD": int(Kind.METER),
            "UNIT": int(Kind.UNIT),
            "VOICES": VOICES,
            "HELD": HELD,
            "FILL": FILL,
            "MOST_CHORD": MOST_CHORD,
            "MOST_GRACES": MOST_GRACES,
            "LENGTHS": effects.plain + 1,
        },
        tensors=(5, 9),
    )
