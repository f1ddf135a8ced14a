"""Trained models as a wheel that anybody can install: `python -m supervisors.artefacts.shipping OUT NAME=RUN ...`.

Weights are rounded to float16, half the size; `generate --run model:NAME` finds them by the package's entry points.
"""

import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from shutil import copytree
from typing import Any

import torch
from torch import Tensor

from core.checkpoint import save_weights
from core.errors import HubError
from core.files import checksum, write_json, write_text
from plugins.manager import Manager, load_manager, own_version
from supervisors.artefacts import artefact, described
from supervisors.artefacts.shipped import GROUP, PREFIX

_PACKAGE = "swaptunes_models"


def ship(runs: Mapping[str, Path], out: Path, manager: Manager) -> Path:
    """Builds the wheel of the models of `runs`, by the names they shall have, in folder `out`; its path.

    HubError where a run has no readable model, a name is no Python identifier, or the wheel cannot be built.
    """
    with tempfile.TemporaryDirectory() as temporary:
        source = Path(temporary)
        package = source / _PACKAGE
        package.mkdir()
        about, needed = [], {"swaptunes"}
        for name, run in runs.items():
            if not name.isidentifier():
                raise HubError(f'"{name}" cannot be a model\'s name; expected letters, digits and _, as in chorales')
            config = _halved(run, package / name, manager)
            about.append(f"- `{PREFIX}{name}`: {config['data_license']} {config['data_url']}")
            needed |= {plugin["distribution"] for plugin in config["plugins"].values()}
        folders = "".join(f'{name} = Path(__file__).parent / "{name}"\n' for name in runs)
        write_text(
            package / "__init__.py", f'"""Folders of trained models."""\n\nfrom pathlib import Path\n\n{folders}'
        )
        write_text(source / "README.md", "# Trained models for swaptunes\n\nTrained on:\n\n" + "\n".join(about) + "\n")
        write_text(source / "setup.cfg", _setup(list(runs), sorted(needed)))
        write_text(source / "setup.py", "from setuptools import setup\n\nsetup()\n")
        return _built(source, out)


def _halved(run: Path, folder: Path, manager: Manager) -> dict[str, Any]:
    """Copies a run's model with its weights rounded to float16; its configuration."""
    found = artefact.read(run, manager)
    folder.mkdir()
    copytree(found.folder / "tokenizer", folder / "tokenizer")
    halves: dict[int, Tensor] = {}  # by where they lie, so that tied weights stay one
    for name, value in found.weights.items():
        halves.setdefault(value.data_ptr(), _half(name, value, run))
    weights = {name: halves[value.data_ptr()] for name, value in found.weights.items()}
    save_weights(weights, folder / "model.safetensors", {"format": described.FORMAT})
    config = found.config | {"sha256": checksum(folder / "model.safetensors")}
    write_json(folder / "config.json", config)
    write_text(folder / "README.md", artefact.card(config))
    return config


def _half(name: str, value: Tensor, run: Path) -> Tensor:
    if not value.is_floating_point():
        return value
    half = value.to(torch.float16)
    if not half.isfinite().all():
        raise HubError(f"{name} of {run} holds numbers beyond float16's 65,504 and cannot be shipped so")
    return half


def _setup(names: list[str], needed: list[str]) -> str:
    points = "\n".join(f"    {name} = {_PACKAGE}:{name}" for name in names)
    requires = "\n".join(f"    {distribution}" for distribution in needed)
    return (
        f"[metadata]\nname = {_PACKAGE.replace('_', '-')}\nversion = {own_version()}\n"
        "description = Trained models for swaptunes\nlong_description = file: README.md\n"
        "long_description_content_type = text/markdown\n\n"
        f"[options]\npackages = {_PACKAGE}\ninstall_requires =\n{requires}\n\n"
        f"[options.package_data]\n{_PACKAGE} = */*, */tokenizer/*\n\n[options.entry_points]\n{GROUP} =\n{points}\n"
    )


def _built(source: Path, out: Path) -> Path:
    out.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    done = subprocess.run([*command, "--wheel-dir", out, source], capture_output=True, text=True)
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()] or ["no reason given"]
        raise HubError(f"the wheel cannot be built ({lines[-1][:200]}); pip install setuptools wheel")
    return max(out.glob(f"{_PACKAGE}-*.whl"), key=lambda path: path.stat().st_mtime)


def main() -> int:
    """Builds what the command line asks for."""
    out, *pairs = sys.argv[1:] or [""]
    runs = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
    if not runs or len(runs) < len(pairs) or "=" in out:
        print("usage: python -m supervisors.artefacts.shipping OUT NAME=RUN [NAME=RUN ...]", file=sys.stderr)
        return 2
    try:
        wheel = ship({name: Path(run) for name, run in runs.items()}, Path(out), load_manager())
    except HubError as error:
        print(f"swaptunes: {error}", file=sys.stderr)
        return 2
    print(f"{wheel} ({wheel.stat().st_size / 1e6:.1f} MB)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
