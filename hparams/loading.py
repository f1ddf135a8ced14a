"""From a preset or a file and `key=value` words to checked hyper-parameters, and back to YAML.

Precedence: defaults < preset or file < plugin swaps such as `backbone=lstm` < `key=value`.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import fields, is_dataclass
from pathlib import Path
from shlex import quote
from typing import Any, get_type_hints

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from core.errors import HubError
from core.names import did_you_mean
from hparams import yaml_words
from hparams.base import HParams
from hparams.deepspeed_keys import check as check_deepspeed
from hparams.hints import MEANINGS, Having, key_meant
from hparams.sentences import sentences
from hparams.types import mistyped

SLOTS = ("supervisor", "backbone", "tokenizer", "dataset")
MOST_DEEP = 32  # lists and mappings within one another
Section = Callable[[str, str], Any]  # (slot, plugin name) -> that plugin's default hyper-parameters; `having` if known


def load(source: str, words: Iterable[str], *, preset: Callable[[str], HParams], section: Section) -> HParams:
    """Reads `source`, a preset's name or a YAML file, and applies `words` of the form key=value.

    Raises HubError for unknown names, unknown keys, values of a wrong type and values out of range.
    """
    if Path(source).suffix in (".yaml", ".yml"):
        hparams = from_file(Path(source), section)
        hparams.name = f"{hparams.name or Path(source).stem}-2"  # a replay stands beside the run it replays
    else:
        hparams = preset(source)
        hparams.name = hparams.name or source
    return override(hparams, words, section=section)


def from_file(path: Path, section: Section) -> HParams:
    """Hyper-parameters from a YAML file that `dump` wrote."""
    try:
        text = path.read_text(encoding="utf-8")
        if any(isinstance(event, yaml.AliasEvent) for event in _events(text, str(path))):
            raise HubError(f"{path} uses * to repeat a part of itself, which may swell without end; write it out")
        tree = yaml_words.read(text)
    except FileNotFoundError:
        raise HubError(f"{path} does not exist; give a preset's name or a file written by a run") from None
    except HubError:
        raise
    except (yaml.YAMLError, ValueError, OSError, RecursionError) as error:
        raise HubError(f"{path} cannot be read as YAML ({str(error).splitlines()[0]})") from error
    return from_tree(tree, str(path), section)


def from_tree(tree: Any, source: str, section: Section) -> HParams:
    """Hyper-parameters from what `dump` or `plain` gave; each slot's `name` says which plugin's section it holds."""
    if not isinstance(tree, dict):
        raise HubError(f"{source} holds {type(tree).__name__}; expected a mapping of hyper-parameters")
    base = HParams()
    if not isinstance(tree.get("supervisor"), dict):  # older files hold its name alone, or nothing of it
        tree = {**tree, "supervisor": {"name": tree.get("supervisor", base.supervisor.name)}}
    for slot in SLOTS:
        chosen = tree.get(slot)
        if not isinstance(chosen, dict) or not isinstance(chosen.get("name"), str):
            raise HubError(f"{source} has no {slot}.name; expected the name of a {slot} plugin")
        setattr(base, slot, section(slot, chosen["name"]))
    return _merged(base, tree, {}, section)


def override(hparams: HParams, words: Iterable[str], *, section: Section) -> HParams:
    """Applies `key=value` words; `backbone=lstm` swaps a whole section for that plugin's defaults."""
    values: dict[str, Any] = {}
    settings = list(_settings(words))
    sections = {slot: getattr(hparams, slot) for slot in SLOTS}
    for key, text, value in settings:
        slot = key.removesuffix(".name")
        if slot == "dataset" and ("/" in text or text.startswith((".", "~"))):
            raise _path(key, text)
        if slot in SLOTS and isinstance(value, str) and value:
            sections[slot] = _section(slot, value, section)
    for key, text, value in settings:
        slot = key.removesuffix(".name")
        if slot in SLOTS and (not isinstance(value, str) or not value):
            raise HubError(f"{key} is {text!r}; expected the name of a {slot} plugin")
        first, _, rest = key.partition(".")
        root, path = (sections[first], rest) if first in SLOTS else (hparams, key)
        values[slot if slot in SLOTS else key] = value if slot in SLOTS else _typed(root, path, text, value)
    return apply(hparams, values, section=section)


def _section(slot: str, name: str, section: Section) -> Any:
    """A plugin's section; HubError where there is none, which says what to do with a folder of that name."""
    try:
        return section(slot, name)
    except HubError:
        if slot == "dataset" and Path(name).is_dir():
            raise _path(slot, name) from None
        raise


def _path(key: str, text: str) -> HubError:
    own = f"dataset=folder {quote(f'dataset.path={text}')}"
    return HubError(f"{key} is {text!r}, a path; for your own files: {own}")


def apply(hparams: HParams, values: Mapping[str, Any], *, section: Section) -> HParams:
    """`hparams` with the value of each dotted key; a slot's value is a plugin's name, and swaps the whole section."""
    swaps = {slot: section(slot, values[slot]) for slot in SLOTS if slot in values}
    held = {**vars(hparams), **swaps}
    tree: dict[str, Any] = {}
    for key, value in values.items():
        if key not in swaps:
            _put(tree, key.split("."), value, held)
    return _merged(hparams, tree, swaps, section)


def _settings(words: Iterable[str]) -> Iterator[tuple[str, str, Any]]:
    """Key, text and value of each word."""
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or not key:
            raise HubError(f'"{word}" is not of the form key=value, e.g. train.steps=100')
        try:
            value = yaml_words.read(text) if text and list(_events(text, key)) else ""
        except yaml.YAMLError:
            value = text
        yield key, text, value


def _events(text: str, source: str) -> Iterator[Any]:
    """What YAML finds in a text; HubError where it is so deep that reading it would take minutes."""
    depth = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        yield event
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MOST_DEEP:
            raise HubError(f"{source} holds lists or mappings {depth} deep; expected at most {MOST_DEEP}")


def _typed(root: Any, path: str, text: str, value: Any) -> Any:
    """A setting's value: the words as typed where the field is a string, else what YAML makes of them."""
    parent, node = None, root
    for part in path.split("."):
        if not is_dataclass(node) or not hasattr(node, part):
            return _number(value)
        parent, node = node, getattr(node, part)
    return text if get_type_hints(type(parent)).get(path.rpartition(".")[2]) is str else _number(value)


def _number(value: Any) -> Any:
    # YAML 1.1 reads 1e-3 as text for want of a dot.
    if isinstance(value, str):
        try:
            return float(value) if "e" in value.lower() and value[:1] in "+-.0123456789" else value
        except ValueError:
            return value
    return value


def _put(tree: dict[str, Any], path: list[str], value: Any, held: Any) -> None:
    """Sets a value of the tree; `held` are the settings so far, of whose mappings what is not set stays."""
    for part in path[:-1]:
        held = held.get(part) if isinstance(held, Mapping) else getattr(held, part, None)
        inner = tree.setdefault(part, deepcopy(held) if isinstance(held, dict) else {})
        if not isinstance(inner, dict):
            raise HubError(f"{'.'.join(path)} is set inside {part}, which is set to a plain value too")
        tree = inner
    tree[path[-1]] = value


def _merged(hparams: HParams, tree: Mapping[str, Any], swaps: Mapping[str, Any], section: Section) -> HParams:
    base = _structured(hparams)
    for slot, chosen in swaps.items():
        base[slot] = _structured(chosen)
        setattr(hparams, slot, chosen)
    _check_keys(hparams, tree, "", getattr(section, "having", _nobody))
    deepspeed = tree.get("deepspeed") or {}
    if not isinstance(deepspeed, Mapping):
        raise HubError(f"deepspeed is {deepspeed!r}; it has keys of its own, e.g. deepspeed.zero_optimization.stage=1")
    check_deepspeed(deepspeed)
    result = _object(hparams, base, tree)
    assert isinstance(result, HParams)
    return result


def _structured(section: Any) -> Any:
    try:
        return OmegaConf.structured(section)
    except OmegaConfBaseException as error:
        place = f"{type(section).__module__}.{type(section).__qualname__}"
        raise HubError(f"{place} cannot hold settings: {str(error).splitlines()[0]}") from error


def section_of_words(section: Any, words: Iterable[str], prefix: str = "") -> Any:
    """A copy of the dataclass `section` with `prefix` + `key=value` words applied; HubError as `override` raises."""
    tree: dict[str, Any] = {}
    for key, text, value in _settings(words):
        path = key.removeprefix(prefix)
        _put(tree, path.split("."), _typed(section, path, text, value), section)
    _check_keys(section, tree, prefix)
    return _object(section, _structured(section), tree, prefix)


def section_of_tree(section: Any, tree: Any, prefix: str) -> Any:
    """A copy of the dataclass `section` with the values of a nested mapping; HubError as `override` raises."""
    if not isinstance(tree, Mapping):
        own = ", ".join(f"{prefix}{field.name}" for field in fields(section) if field.name != "name")
        raise HubError(f"{prefix.rstrip('.')} is {tree!r}; it has keys of its own: {own}")
    _check_keys(section, tree, prefix)
    return _object(section, _structured(section), tree, prefix)


def _object(section: Any, base: Any, tree: Mapping[str, Any], prefix: str = "") -> Any:
    _refuse_references(tree, prefix)
    _empty(base, tree)
    try:
        return OmegaConf.to_object(OmegaConf.merge(base, OmegaConf.create(dict(tree))))
    except OmegaConfBaseException as error:
        raise HubError(mistyped(section, tree, error.full_key or "", prefix) or str(error).splitlines()[0]) from error
    except ValueError as error:  # from a __post_init__, already one line
        raise HubError(str(error)) from error


def _empty(base: Any, tree: Mapping[str, Any]) -> None:
    """Takes out what mappings hold that the tree sets, as it holds the whole of them."""
    for key, value in tree.items():
        inner = base[key]
        if isinstance(value, Mapping) and isinstance(inner, DictConfig):
            if OmegaConf.get_type(inner) is dict:
                base[key] = {}
            else:
                _empty(inner, value)


def _refuse_references(tree: Any, prefix: str) -> None:
    """OmegaConf would put environment variables in the place of ${oc.env:NAME}, and a shared file could ask for any."""
    if isinstance(tree, str) and "${" in tree:
        raise HubError(f"{prefix.rstrip('.')} is {tree!r}; expected a plain value, without ${{...}}")
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            _refuse_references(value, f"{prefix}{key}.")
    elif isinstance(tree, list):
        for value in tree:
            _refuse_references(value, prefix)


def _nobody(key: str) -> Mapping[str, list[str]]:
    return {}


def _check_keys(section: Any, tree: Mapping[str, Any], prefix: str, having: Having = _nobody) -> None:
    if not is_dataclass(section):
        return  # a free mapping, such as deepspeed.*
    known = {field.name for field in fields(section)}
    for key, value in tree.items():
        dotted = f"{prefix}{key}"
        if key not in known:
            while isinstance(value, Mapping) and len(value) == 1:  # a section that there is not, as it was typed
                (part, value), *_ = value.items()
                dotted = f"{dotted}.{part}"
            everywhere = list(_dotted(section, prefix))
            if dotted == "dataset.path":
                raise HubError(
                    f'the dataset "{getattr(section, "name", "")}" is not read from a path; '
                    f"for your own files: dataset=folder {quote(f'dataset.path={value}')}"
                )
            hint = key_meant(dotted, everywhere, having)
            if not hint and "options" in known:  # of a library below, whatever they are
                about = sentences(type(section))["options"]
                hint = f' Perhaps "{prefix}options={{{key}: {json.dumps(value)}}}": {about}'
            beside = known - {"name"} if prefix else everywhere
            raise HubError(f'there is no key "{dotted}".{hint or did_you_mean(str(key), beside)}')
        inner = getattr(section, str(key))
        if isinstance(value, Mapping):
            _check_keys(inner, value, f"{dotted}.", having)
        elif is_dataclass(inner):
            other = MEANINGS.get(dotted, "")
            hint = f'; did you mean "{other}={value}"?' if other else ""
            inside = f"{dotted}.{fields(inner)[0].name}=..."
            raise HubError(f"{dotted} is {value!r}; it has keys of its own, e.g. {inside}{hint}")


def _dotted(section: Any, prefix: str = "") -> Iterator[str]:
    for field in fields(section):
        value = getattr(section, field.name)
        if is_dataclass(value):
            yield from _dotted(value, f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name}"


def dump(hparams: HParams) -> str:
    """The whole of `hparams` as YAML that `load` accepts."""
    return OmegaConf.to_yaml(_structured(hparams))


def changed(old: HParams, new: HParams) -> list[str]:
    """Dotted names of the values that differ, sections of another plugin named as a whole."""
    return sorted(_differences(plain(old), plain(new), ""))


def plain(hparams: HParams) -> Any:
    """The whole of `hparams` as nested dicts, lists and scalars."""
    return OmegaConf.to_container(_structured(hparams))


def _differences(old: Any, new: Any, prefix: str) -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        if old.get("name") != new.get("name") and prefix:
            yield prefix.rstrip(".")
            return
        for key in {*old, *new}:
            yield from _differences(old.get(key), new.get(key), f"{prefix}{key}.")
    elif old != new:
        yield prefix.rstrip(".")
