"""The command: `python -m supervisors.run [VERB] ...`, also installed as `swaptunes`."""

import argparse
import logging
import os
import sys
import warnings
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from core.errors import HubError
from plugins.manager import load_manager, own_version

USAGE = """\
swaptunes [VERB] [--hparams PRESET|FILE] [--run FOLDER] [key=value ...]

  help       [VERB|KEY|SLOT=NAME]                    what a verb, a setting or a plugin takes
  train      --hparams PRESET|FILE [key=value ...]   train, evaluate, generate; the default verb
             --run FOLDER [train.steps=N]            go on with a run
             ... dry=true                            what it would be: settings, size, steps, minutes; trains nothing
  prepare    --hparams PRESET|FILE [key=value ...]   read and tokenize the music, no more
  evaluate   --run FOLDER [evaluate.count=64 ...]    score the best model, and its music against real music
  generate   --run FOLDER [generate.count=4 ...]     generate from a run or an artefact
  convert    IN OUT                                  a file of music in another format, e.g. tune.abc tune.wav
  compare    RUN|PRESET ... [key=value ...]          one table of several runs; trains what is missing
             PRESET key=VALUE,VALUE ...              a sweep: a row for each value
  listen     RUN|FOLDER|real ... [listen.pieces=12]  a blind listening test of several systems, served here
             --ratings FOLDER                        what its ratings tell
  studio     [--run FOLDER] [studio.port=8000 ...]   a page here to play, continue and compare models as they draw
  bench      [key=value ...]                         how fast each backbone trains and plays on this machine
  list       [NAME]                                  every plugin in a sentence, or all about one
  check      NAME [device=cuda] [dtype=bfloat16]     the laws over one backbone, tokenizer or supervisor
"""

# Where each verb lies; imported when it is asked for, so that the quick ones answer at once.
VERBS = {
    "train": "supervisors.verbs:train",
    "prepare": "supervisors.verbs:prepare",
    "evaluate": "supervisors.verbs:evaluate",
    "generate": "supervisors.verbs:generate",
    "convert": "supervisors.verbs:convert",
    "compare": "supervisors.comparison.verb:compare",
    "listen": "supervisors.listening.verb:listen",
    "studio": "supervisors.studio.verb:studio",
    "bench": "supervisors.bench.verb:bench",
    "list": "supervisors.verbs:listing",
    "check": "supervisors.verbs:check",
}


def main(arguments: list[str] | None = None) -> None:
    """Runs one verb; exits 2 with one line for what a person can mend, 130 when interrupted."""
    warnings.filterwarnings("ignore", category=FutureWarning)
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    logging.getLogger("swaptunes").setLevel(logging.INFO)
    try:
        try:
            options = parse(build_parser(), sys.argv[1:] if arguments is None else arguments)
            status = _run(options)
        except HubError as error:
            _say(f"swaptunes: {error}")
            status = 2
        except BrokenPipeError:  # whoever read the output has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            status = 0
        except KeyboardInterrupt:
            _say("swaptunes: interrupted; the same command goes on from what was saved")
            status = 130
    finally:
        _leave()
    sys.stdout.flush()
    sys.exit(status)


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, as everything else does."""

    def error(self, message: str) -> NoReturn:
        raise HubError(f"{message}; see --help")


def build_parser() -> argparse.ArgumentParser:
    """The few flags; everything else is key=value."""
    parser = _Parser(prog="swaptunes", usage=USAGE, add_help=False, allow_abbrev=False)
    parser.add_argument("words", nargs="*")
    parser.add_argument("--hparams", default="")
    parser.add_argument("--run", default="", type=str)
    parser.add_argument("--ratings", default="")
    parser.add_argument("--local_rank", default="")  # DeepSpeed's launcher sets it; the environment says the same
    parser.add_argument("--version", action="store_true")
    parser.add_argument("--help", "-h", action="store_true")
    return parser


def parse(parser: argparse.ArgumentParser, arguments: list[str]) -> argparse.Namespace:
    """The flags, the verb and the words that are left; HubError for a flag that there is not."""
    options, rest = parser.parse_known_intermixed_args(arguments)
    flags = [word for word in rest if word.startswith("-")]
    if flags:
        first = arguments[0]
        named = "=" in first or first.startswith("-") or first in (*VERBS, "help") or _preset(first)
        raise HubError(_no_flag(flags[0], arguments) if named else _no_verb(first))
    if "=" in options.hparams and not Path(options.hparams).exists():
        raise HubError(f"--hparams is {options.hparams}; expected a preset or a file, and settings behind it")
    options.words += rest
    options.verb, options.named = "train", False
    if options.words and "=" not in options.words[0] and (options.words[0] in VERBS or not _source(options)):
        options.verb, options.named = options.words.pop(0), True
    if options.verb in ("train", "prepare") and _source(options):  # `train mamba_remi`, or `mamba_remi` alone
        options.hparams = options.words.pop(0)
    if (
        options.verb in ("generate", "evaluate")
        and not options.run
        and len(options.words)
        and "=" not in options.words[0]
    ):
        options.run = options.words.pop(0)  # `generate runs/mamba_remi`
    return options


def _source(options: argparse.Namespace) -> bool:
    """Whether the first word names a preset or a file, where no flag does."""
    if options.hparams or options.run or not options.words or "=" in options.words[0]:
        return False
    return _preset(options.words[0])


def _preset(word: str) -> bool:
    return word.endswith((".yaml", ".yml")) or word in load_manager().preset_names()


def _no_flag(word: str, typed: list[str]) -> str:
    """What to say to `--steps 100`, which other tools understand."""
    from hparams.base import HParams
    from hparams.hints import meant
    from hparams.sentences import settings

    flag, _, value = word.partition("=")
    if not value:
        value = next(iter(typed[typed.index(word) + 1 :]), "")
    sections = {"generate": ("generate.",), "evaluate": ("evaluate.", "generate.")}.get(typed[0], ())
    hint = meant(flag.lstrip("-").replace("-", "_"), [one.key for one in settings(HParams())], sections)
    key = hint.partition('"')[2].partition('"')[0]
    if key == "dataset.path":
        key = "dataset=folder dataset.path"
    if typed[0] == "prepare" and key in ("generate.out", "name"):
        lies = "What is prepared lies in the cache"
        return f'there is no flag "{flag}". {lies}: SWAPTUNES_CACHE={value or "FOLDER"} before the command'
    if key == "generate.out" and typed[0] not in ("generate", "bench"):
        key = "name"
    if key:
        return f'there is no flag "{flag}". Settings are key=value: {key}={value or "..."}'
    return f'there is no flag "{flag}".{hint or " Settings are key=value; see --help"}'


def _run(options: argparse.Namespace) -> int:
    if options.version:
        print(f"swaptunes {own_version()}")
        return 0
    asked = options.named or options.words or options.hparams or options.run
    if options.help or options.verb == "help" or not asked:
        return _help(options)
    if options.verb not in VERBS:
        raise HubError(_no_verb(options.verb, options.hparams))
    module, function = VERBS[options.verb].split(":")
    verb: Callable[[argparse.Namespace], int] = getattr(import_module(module), function)
    return verb(options)


def _no_verb(word: str, preset: str = "") -> str:
    """What to say to a first word that is no verb, nor a preset unless `preset` is another."""
    from supervisors.intents import path_meant, verb_meant

    if preset and _preset(word):
        return f"{word} and --hparams {preset} are two presets; expected one"
    meant = path_meant(word) or verb_meant(word) or load_manager().preset_hint(word)
    return f'there is no verb or preset "{word}".{meant}'


def _help(options: argparse.Namespace) -> int:
    """`VERB --help`, `help VERB`, `help KEY`, `help backbone=NAME`; the verbs alone where nothing is named."""
    from supervisors import helping

    manager = load_manager()
    words = options.words if options.verb == "help" or not options.named else [options.verb]
    if not words:
        print(USAGE, end="")
    for word in words:
        print(helping.of_verb(word, USAGE, manager) if word in VERBS else helping.of_key(word, manager), end="")
    return 0


def _say(text: str) -> None:
    if os.environ.get("RANK", "0") == "0":
        # Names in files of others may hold control sequences, which a terminal would obey.
        shown = "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)
        print(shown, file=sys.stderr)


def _leave() -> None:
    group = sys.modules.get("supervisors.training.process_group")
    if group is not None and sys.exc_info()[0] is None:
        group.stop()


if __name__ == "__main__":
    main()
