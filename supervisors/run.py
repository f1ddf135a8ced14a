"""The command: `python -m supervisors.run [VERB] ...`, also installed as `swaptunes`."""

import argparse
import logging
import os
import sys
import warnings
from collections.abc import Callable
from importlib import import_module
from typing import NoReturn

from core.errors import HubError, did_you_mean
from plugins.manager import own_version

USAGE = """\
swaptunes [VERB] [--hparams PRESET|FILE] [--run FOLDER] [key=value ...]

  train      --hparams PRESET|FILE [key=value ...]   train, evaluate, generate; the default verb
             --run FOLDER [train.steps=N]            go on with a run
  prepare    --hparams PRESET|FILE [key=value ...]   read and tokenize the music, no more
  evaluate   --run FOLDER [evaluate.count=64 ...]    score the best model, and its music against real music
  generate   --run FOLDER [generate.count=4 ...]     generate from a run or an artefact
  compare    RUN|PRESET ... [key=value ...]          one table of several runs; trains what is missing
  bench      [key=value ...]                         how fast each backbone trains and plays on this machine
  list                                               every plugin, and the broken ones with their error
  check      NAME [device=cuda] [dtype=bfloat16]     the laws over one backbone or tokenizer
"""

# Where each verb lies; imported when it is asked for, so that the quick ones answer at once.
VERBS = {
    "train": "supervisors.verbs:train",
    "prepare": "supervisors.verbs:prepare",
    "evaluate": "supervisors.verbs:evaluate",
    "generate": "supervisors.verbs:generate",
    "compare": "supervisors.comparison.verb:compare",
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
    parser.add_argument("--local_rank", default="")  # DeepSpeed's launcher sets it; the environment says the same
    parser.add_argument("--version", action="store_true")
    parser.add_argument("--help", "-h", action="store_true")
    return parser


def parse(parser: argparse.ArgumentParser, arguments: list[str]) -> argparse.Namespace:
    """The flags, the verb and the words that are left; HubError for a flag that there is not."""
    options, rest = parser.parse_known_intermixed_args(arguments)
    flags = [word for word in rest if word.startswith("-")]
    if flags:
        flag = flags[0].partition("=")[0]
        hint = f" Settings are key=value, e.g. {flag.lstrip('-')}=..." if flag not in ("--hparams", "--run") else ""
        raise HubError(f'there is no flag "{flag}".{hint}')
    options.words += rest
    options.verb = "train"
    if options.words and "=" not in options.words[0]:
        options.verb = options.words.pop(0)
    return options


def _run(options: argparse.Namespace) -> int:
    if options.help or (not options.hparams and not options.run and not options.words and options.verb == "train"):
        print(USAGE, end="")
        return 0
    if options.version:
        print(f"swaptunes {own_version()}")
        return 0
    if options.verb not in VERBS:
        raise HubError(f'there is no verb "{options.verb}".{did_you_mean(options.verb, VERBS)}')
    module, function = VERBS[options.verb].split(":")
    verb: Callable[[argparse.Namespace], int] = getattr(import_module(module), function)
    return verb(options)


def _say(text: str) -> None:
    if os.environ.get("RANK", "0") == "0":
        # Names in files of others may hold control sequences, which a terminal would obey.
        shown = "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)
        print(shown, file=sys.stderr)


def _leave() -> None:
    ranks = sys.modules.get("supervisors.training.ranks")
    if ranks is not None and sys.exc_info()[0] is None:
        ranks.stop()


if __name__ == "__main__":
    main()
