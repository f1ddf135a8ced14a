"""`listen`: a blind listening test of runs, folders of music and real music, and what its ratings tell."""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import symusic

from core.errors import HubError
from core.seeds import generator
from datatools.reading import scores
from hparams.listen import ListenHParams
from hparams.loading import section_of_words
from plugins.manager import load_manager
from supervisors.asking import runs_folder
from supervisors.listening import site
from supervisors.listening.server import server

REAL = "real"  # the word for the dataset's own music


def listen(options: argparse.Namespace) -> int:
    """Makes a test of the systems named, or reads the ratings of one that stands (`--ratings FOLDER`)."""
    if options.ratings:
        from supervisors.listening.results import report

        print(report(Path(options.ratings)), end="")
        print(f"page  {Path(options.ratings) / 'index.html'}")
        return 0
    subjects = [word for word in options.words if "=" not in word]
    own = [word for word in options.words if word.startswith("listen.")]
    names = [word.removeprefix("name=") for word in options.words if word.startswith("name=")]
    other = [word for word in options.words if "=" in word and not word.startswith(("listen.", "name="))]
    if other:
        raise HubError(f'"{other[0]}" cannot be changed here; only listen.* and name= can')
    if len(set(subjects)) < 2:
        raise HubError(
            "listen needs two systems at least: runs, folders of music, or real, e.g. listen runs/a runs/b real"
        )
    names_of = [_name(subject) for subject in dict.fromkeys(subjects)]
    twice = next((name for name in names_of if names_of.count(name) > 1), "")
    if twice:
        raise HubError(
            f"two systems are called {twice}; give folders of unlike names, for the results tell them by these"
        )
    asked: ListenHParams = section_of_words(ListenHParams(), own, "listen.")
    folder = runs_folder() / (names[-1] if names else "listen")
    page = folder / "site" / "index.html"
    systems = {_name(subject): _music(subject, subjects, asked) for subject in subjects}
    site.write(systems, asked, folder)
    print(f"page     {page}")
    print(f"key      {folder / 'key.json'} (which clip is whose; not for participants)")
    print(f"results  python -m supervisors.run listen --ratings {folder}")
    if asked.serve:
        with server(folder, asked.port) as running:
            print(f"serving  http://127.0.0.1:{running.server_address[1]}/ until Ctrl-C", flush=True)
            running.serve_forever()
    return 0


def _name(subject: str) -> str:
    return Path(subject).resolve().name if subject != REAL else REAL


def _music(subject: str, subjects: Sequence[str], asked: ListenHParams) -> list[symusic.Score]:
    """At least `listen.pieces` scores of one system, where it has them."""
    if subject == REAL:
        return _real(subjects, asked)
    folder = Path(subject) if Path(subject).is_dir() else runs_folder() / subject
    if not folder.is_dir():
        raise HubError(f"{subject} is neither a folder nor the name of a run in {runs_folder()}")
    if (folder / "hparams.yaml").exists() or (folder / "config.json").exists():
        from supervisors.opening import opened

        words = [f"generate.count={asked.pieces}", f"generate.seed={asked.seed}", "generate.formats=[]"]
        supervisor = opened(folder, words, load_manager(), ("generate.",))
        with tempfile.TemporaryDirectory() as made:
            return _scores(supervisor.generate(Path(made)))
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in scores.EXTENSIONS)
    order = generator("listen", str(asked.seed), subject).permutation(len(files))
    return _scores([files[i] for i in order], asked.pieces)


def _scores(files: Sequence[Path], most: int | None = None) -> list[symusic.Score]:
    found = []
    for path in files:
        try:
            found.append(scores.read(path).score)
        except ValueError:
            continue
        if most is not None and len(found) == most:
            break
    return found


def _real(subjects: Sequence[str], asked: ListenHParams) -> list[symusic.Score]:
    """Tested pieces of the first run's dataset."""
    from supervisors.evaluation import results as evaluation
    from supervisors.evaluation.report import reader
    from supervisors.opening import opened

    for subject in subjects:
        folder = Path(subject) if Path(subject).is_dir() else runs_folder() / subject
        if not (folder / "hparams.yaml").exists():
            continue
        supervisor = opened(folder, [], load_manager(), ("generate.",))
        supervisor.load_data()
        source, split = reader(supervisor), evaluation.splits_of(supervisor.store)[-1]
        order = generator("listen", str(asked.seed), REAL).permutation(supervisor.store.count(split))
        found = (source(split, int(number)) for number in order)
        return [score for score, _ in zip((score for score in found if score is not None), range(asked.pieces))]
    raise HubError("real needs a run beside it, whose dataset the real music is of")
