"""Which packages a bare CUDA machine with PyTorch may lack, as pinned here: to be carried as wheels."""

from pathlib import Path

# What an image with PyTorch, transformers and their kind has; the rest of what we import is to be carried.
_NEEDED = (
    "omegaconf", "pluggy", "miditok", "symusic", "music21", "tensorboard", "safetensors", "einops", "tqdm",
    "pySmartDL", "platformdirs", "chardet", "jsonpickle", "more-itertools", "webcolors", "requests",
    "charset-normalizer", "idna", "joblib", "mido", "mambapy", "deepspeed", "hjson", "pydantic", "pydantic_core",
    "annotated-types", "typing-inspection", "typing_extensions", "msgpack", "ninja", "psutil", "py-cpuinfo",
)  # fmt: skip


def missing() -> list[str]:
    """`name==version` of each package that is needed and cannot be found here; all of them where all are here."""
    pins = Path(__file__).parents[2] / "constraints.txt"
    found = dict(line.split("==") for line in pins.read_text().splitlines() if "==" in line)
    return [f"{name}=={found[name]}" for name in _NEEDED if name in found]
