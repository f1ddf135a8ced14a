"""The plugin host: each plugin by itself, nothing half-registered, every refusal one line that says where and what."""

import logging
import re
import subprocess
import sys
import types
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Literal

import pluggy
import pytest

from core.errors import HubError
from core.registry import BrokenPlugin
from hparams.base import HParams
from hparams.presets.tiny import tiny
from plugins import hookspecs, manager
from plugins.built_in import BUILT_IN
from plugins.manager import Manager, chosen, describe, find, load_manager
from plugins.registration import HOOKS

ROOT = Path(__file__).resolve().parents[1]
hookimpl = pluggy.HookimplMarker("swaptunes")


def section(name, **fields):
    """A dataclass of hyper-parameters with the given name and fields."""
    space = {"__annotations__": {"name": Literal[name]}, "name": name}
    for key, value in fields.items():
        space["__annotations__"][key], space[key] = type(value), value
    return dataclass(type("Made", (), space))


def backbone(name):
    return section(name, dim=8, layers=1, dropout=0.0)


def plugin(**hooks):
    """A module whose hooks are the given functions."""
    module = types.ModuleType("made")
    for name, function in hooks.items():
        setattr(module, f"register_{name}", hookimpl(function, specname=f"register_{name}"))
    return module


def build(hparams, folder=None):
    return "built"


def loaded(**plugins):
    host = Manager()
    for name, made in plugins.items():
        host.add(name, lambda made=made: made, f"{name}-dist", "1.0")
    host.freeze()
    return host


def test_every_built_in_plugin_loads():
    found = load_manager()
    assert not {name: str(error) for name, error in found.broken.items() if error.distribution == "swaptunes"}
    assert {"mamba", "transformer", "lstm"} <= set(found.backbones)
    assert {"remi", "tsd", "abc"} <= set(found.tokenizers)
    assert {"bach_chorales", "folk_tunes", "folder"} <= set(found.datasets)
    assert load_manager() is found


def test_every_module_with_a_hook_is_loaded():
    files = [file for package in ("plugins", "hparams", "supervisors") for file in (ROOT / package).rglob("*.py")]
    marked = {
        ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for file in files
        if re.search(r"^@hookimpl", file.read_text(), re.M)
    }
    assert marked == set(BUILT_IN)


def test_loading_and_listing_import_nothing_heavy():
    heavy = "torch deepspeed transformers music21 miditok matplotlib tensorboard pytest"
    code = f"""
import sys
from plugins.manager import describe, load_manager
describe(load_manager())
print(*(name for name in {heavy.split()!r} if name in sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_hooks_are_those_of_the_specifications():
    assert set(HOOKS) == {name for name in vars(hookspecs) if name.startswith("register_")}


def test_entry_tells_kind_origin_and_place():
    host = loaded(good=plugin(backbones=lambda register: register("foo", backbone("foo"), build)))
    entry = host.backbones["foo"]
    assert (entry.kind, entry.plugin, entry.distribution, entry.version) == ("backbone", "good", "good-dist", "1.0")
    assert (entry.file, entry.line) == (__file__, build.__code__.co_firstlineno)
    assert entry.build(entry.hparams()) == "built"
    assert [tuple(row) for row in describe(host)] == [("backbone", "foo", "good-dist", "1.0", entry.where, "")]


def test_data_come_from_the_supervisor_unless_they_come_by_themselves(tmp_path):
    def register_them(register):
        register("foo", section("foo"), owner)
        register("bar", section("bar"), owner, data=lambda *given: ("data", *given))

    def owner(*given):
        methods = ("load_data", "build_model", "train", "evaluate", "open", "generate")
        return SimpleNamespace(given=given, **dict.fromkeys(methods, print))

    host = loaded(good=plugin(supervisors=register_them))
    for name in ("foo", "bar"):
        hparams = SimpleNamespace(supervisor=host.section("supervisor", name))
        given = (hparams, host, tmp_path)
        assert host.supervise(hparams, tmp_path).given == given
        data = host.data_of(hparams, tmp_path)
        assert (data == ("data", *given)) if name == "bar" else (data.given == given)
    bad = loaded(bad=plugin(supervisors=lambda register: register("foo", section("foo"), build, data=1)))
    assert '"foo" has data 1; expected a callable' in str(bad.broken["bad"])


def test_place_of_a_borrowed_function_is_the_call_of_register():
    def register_them(register):
        register("foo", section("foo"), pluggy.PluginManager)

    entry = loaded(good=plugin(datasets=register_them)).datasets["foo"]
    assert (entry.file, entry.line) == (__file__, register_them.__code__.co_firstlineno + 1)


def test_unknown_name_gets_a_suggestion_and_the_broken_plugins():
    host = loaded(
        good=plugin(backbones=lambda register: register("mamba", backbone("mamba"), build)),
        sick=plugin(backbones=lambda register: 1 / 0),
    )
    with pytest.raises(HubError, match=r'no backbone "mambo"\. Did you mean "mamba"\? Skipped because broken: sick\.'):
        host.backbones["mambo"]


def test_a_broken_plugin_leaves_nothing_and_harms_nobody(caplog):
    def half(register):
        register("half", backbone("half"), build)

    def fails(register):
        register("part", section("part"), build)
        raise RuntimeError("no luck")

    with caplog.at_level(logging.WARNING, "swaptunes"):
        host = loaded(
            first=plugin(datasets=lambda register: register("one", section("one"), build)),
            sick=plugin(backbones=half, tokenizers=fails),
            last=plugin(datasets=lambda register: register("two", section("two"), build)),
        )
    assert list(host.datasets) == ["one", "two"]
    assert not list(host.backbones) and not list(host.tokenizers)
    assert set(host.broken) == {"sick"}
    assert [record.getMessage().count("sick") for record in caplog.records] == [2]  # the plugin and its distribution
    for registry, name in ((host.backbones, "half"), (host.tokenizers, "part"), (host.backbones, "sick")):
        with pytest.raises(BrokenPlugin, match=r"RuntimeError: no luck \(.*test_manager\.py:\d+\)"):
            registry[name]
    with pytest.raises(BrokenPlugin, match="no luck"):
        host.preset("half_remi")
    with pytest.raises(BrokenPlugin, match="no luck"):
        find(host, "half")
    with pytest.raises(HubError, match='no backbone, tokenizer, supervisor or control "three"'):
        find(host, "three")


def test_a_name_that_was_free_again_can_be_taken():
    def fails(register):
        register("foo", backbone("foo"), build)
        raise RuntimeError

    def good(register):
        register("foo", backbone("foo"), build)

    assert loaded(sick=plugin(backbones=fails), good=plugin(backbones=good)).backbones["foo"].plugin == "good"


@pytest.mark.parametrize("error", [ImportError("gone"), SystemExit(3), SyntaxError("bad"), RecursionError("deep")])
def test_a_plugin_that_cannot_be_loaded_is_skipped(error):
    def load():
        raise error

    host = Manager()
    assert host.add("sick", load, "sick-dist", "0.1") is False
    assert type(error).__name__ in str(host.broken["sick"])
    assert host.broken["sick"].__cause__ is error


def test_taken_name_is_refused_with_both_places():
    host = loaded(
        first=plugin(backbones=lambda register: register("foo", backbone("foo"), build)),
        second=plugin(backbones=lambda register: register("foo", backbone("foo"), other_build)),
    )
    assert host.backbones["foo"].plugin == "first"
    said = str(host.broken["second"])
    for place in (build, other_build):
        assert f"{__file__}:{place.__code__.co_firstlineno}" in said


def other_build(hparams):
    return "other"


@dataclass
class PlainString:
    name: str = "foo"
    dim: int = 1
    layers: int = 1
    dropout: float = 0.0


@dataclass
class NoDefault:
    dim: int
    name: Literal["foo"] = "foo"
    layers: int = 1
    dropout: float = 0.0


@dataclass
class OtherDefault:
    name: Literal["foo"] = "bar"
    dim: int = 1
    layers: int = 1
    dropout: float = 0.0


class NoDataclass:
    name = "foo"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("foo", PlainString, build), r"PlainString\.name is typed <class 'str'>; expected Literal\[\"foo\"\]"),
        (("foo", NoDefault, build), r"NoDefault\.dim has no default"),
        (("foo", OtherDefault, build), r"OtherDefault\.name is 'bar' by default"),
        (("foo", NoDataclass, build), "expected a dataclass"),
        (("foo", backbone("bar"), build), r"expected Literal\[\"foo\"\]"),
        (("foo", section("foo", dim=1, layers=1), build), "has no field dropout"),
        (("foo", backbone("foo"), "build"), "expected a callable"),
        (("Foo-Bar", backbone("foo"), build), "lower-case words"),
        (("foo", backbone("foo")), "missing 1 required positional argument"),
    ],
)
def test_wrong_registration_is_refused(arguments, message):
    host = loaded(sick=plugin(backbones=lambda register: register(*arguments)))
    assert not list(host.backbones)
    assert re.search(message, str(host.broken["sick"])), str(host.broken["sick"])


def test_unknown_hook_of_a_newer_plugin_is_tolerated(caplog):
    made = plugin(backbones=lambda register: register("foo", backbone("foo"), build))
    made.register_backbone = hookimpl(lambda register: register("bar", backbone("bar"), build))
    made.register_backbone.__name__ = "register_backbone"
    with caplog.at_level(logging.WARNING, "swaptunes"):
        host = loaded(newer=made)
    assert list(host.backbones) == ["foo"] and not host.broken
    assert [record.getMessage() for record in caplog.records] == [
        'plugin "newer" has a hook "register_backbone" that this version does not know; ignored. '
        'Did you mean "register_backbones"?'
    ]


class ClassPlugin:
    @hookimpl
    def register_backbones(self, register):
        register("foo", backbone("foo"), build)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (ClassPlugin, "which pluggy does not instantiate"),
        (types.ModuleType("empty"), "it has no hook"),
        (plugin(backbones=lambda register: "something"), "a hook returns nothing"),
        (plugin(backbones=lambda registrar: None), "registrar"),
        (plugin(metrics=lambda register: register("m", lambda a, b, *, c: 0, unit="", higher_is_better=True)), '"c"'),
        (plugin(presets=lambda register: register(lambda: HParams())), "lower-case words"),
    ],
)
def test_what_is_no_plugin_is_refused(made, message):
    assert message in str(loaded(sick=made).broken["sick"])


def test_an_object_may_be_a_plugin():
    assert list(loaded(good=ClassPlugin()).backbones) == ["foo"]


def test_two_plugins_of_one_name_and_one_plugin_twice():
    good = plugin(backbones=lambda register: register("foo", backbone("foo"), build))
    host = Manager()
    assert host.add("good", lambda: good) is True
    assert host.add("good", lambda: plugin(backbones=lambda register: None)) is False
    assert host.add("twice", lambda: good) is False
    assert "already called" in str(host.broken["good"])
    assert list(host.backbones) == ["foo"]


def test_registering_late_is_an_error():
    kept = []
    loaded(sly=plugin(backbones=lambda register: kept.append(register)))
    with pytest.raises(HubError, match="came after its hook had returned"):
        kept[0]("foo", backbone("foo"), build)
    host = loaded()
    with pytest.raises(HubError, match="came after loading"):
        host.add("late", lambda: plugin(backbones=lambda register: register("foo", backbone("foo"), build)))


def test_metric_keeps_unit_and_direction():
    def distance(generated, reference, *, training, prompts):
        return 0.0

    def metrics(register):
        register("distance", distance, unit="bits", higher_is_better=False)

    host = loaded(good=plugin(metrics=metrics))
    said = {"unit": "bits", "higher_is_better": False, "headline": False, "apart": False}
    assert host.metrics["distance"].extra == said
    assert host.metrics["distance"].function is distance


def tokenizer(name):
    return lambda register: register(name, section(name), build)


def small_run():
    return replace(tiny(), name="", seed=7)


def broken_run():
    return 3


def raising_run():
    raise KeyError("no\nluck")


def half_run():
    return HParams()


def mistyped_run():
    return replace(tiny(), train=replace(tiny().train, grad_clip="much"))


@pytest.mark.parametrize(
    ("preset", "said"),
    [
        (raising_run, r"KeyError: .*luck"),
        (half_run, "has backbone None; expected a backbone's settings, an object of its dataclass"),
        (mistyped_run, "grad_clip"),
    ],
)
def test_a_preset_that_is_no_run_is_one_line(preset, said):
    host = loaded(one=plugin(presets=lambda register: register(preset)))
    with pytest.raises(HubError, match=rf'^preset "{preset.__name__}" at .*test_manager\.py:\d+ .*{said}') as caught:
        host.preset(preset.__name__)
    assert "\n" not in str(caught.value)


def test_wishes_that_fail_name_their_plugin():
    def net(register):
        register("net", backbone("net"), build, defaults={"train.speed": 3})

    host = loaded(one=plugin(backbones=net, tokenizers=tokenizer("baz")))
    with pytest.raises(HubError, match=r'^the defaults of backbone "net" at .*: there is no key "train\.speed"'):
        host.preset("net_baz")


def test_settings_of_a_type_that_no_file_can_hold_name_their_plugin():
    odd = section("net", dim=8, layers=1, dropout=0.0, kind=object())
    host = loaded(one=plugin(backbones=lambda register: register("net", odd, build), tokenizers=tokenizer("baz")))
    with pytest.raises(HubError, match=r'^the defaults of backbone "net" at .*cannot hold settings: Unexpected type'):
        host.preset("net_baz")


def test_presets_by_name_and_composed():
    def presets(register):
        register(small_run)
        register(broken_run)

    host = loaded(
        one=plugin(backbones=lambda register: register("foo_bar", backbone("foo_bar"), build)),
        two=plugin(tokenizers=tokenizer("baz"), presets=presets),
    )
    assert host.preset_names() == ["broken_run", "foo_bar_baz", "small_run"]
    assert (host.preset("small_run").name, host.preset("small_run").seed) == ("small_run", 7)
    composed = host.preset("foo_bar_baz")
    assert (composed.name, composed.backbone.name, composed.tokenizer.name) == ("foo_bar_baz", "foo_bar", "baz")
    with pytest.raises(HubError, match=r"broken_run.*test_manager\.py:\d+ returned int; expected HParams"):
        host.preset("broken_run")
    with pytest.raises(HubError, match=r'no preset "foo_bar_bas"\. Did you mean "foo_bar_baz"'):
        host.preset("foo_bar_bas")


def test_a_name_that_two_pairs_bear_is_an_error():
    def backbones(register):
        register("a", backbone("a"), build)
        register("a_b", backbone("a_b"), build)

    def tokenizers(register):
        register("b_c", section("b_c"), build)
        register("c", section("c"), build)

    host = loaded(good=plugin(backbones=backbones, tokenizers=tokenizers))
    with pytest.raises(HubError, match='backbone "a" with tokenizer "b_c" or backbone "a_b" with tokenizer "c"'):
        host.preset("a_b_c")


def test_wishes_choose_among_entry_points():
    points = [metadata.EntryPoint(name, "nowhere", "swaptunes") for name in ("b", "a", "c")]
    assert [point.name for point in chosen(points, None)] == ["a", "b", "c"]
    assert [point.name for point in chosen(points, "c, a")] == ["a", "c"]
    assert chosen(points, "") == []
    with pytest.raises(HubError, match='asks for plugin "bb", which is not installed'):
        chosen(points, "a,bb")


def test_version_is_the_checkouts():
    declared = re.search(r"^version = (.+)$", (ROOT / "setup.cfg").read_text(), re.M)
    assert declared is not None and manager.own_version() == declared[1]


def test_a_backbone_s_wish_goes_before_a_tokenizer_s():
    def backbones(register):
        register("net", backbone("net"), build, defaults={"train.lr": 0.5, "data.length": 64})

    def tokenizers(register):
        register("toks", section("toks"), build, defaults={"train.lr": 0.25, "data.batch_size": 16})

    found = loaded(good=plugin(backbones=backbones, tokenizers=tokenizers)).preset("net_toks")
    assert (found.train.lr, found.data.length, found.data.batch_size) == (0.5, 64, 16)
    assert (found.train.steps, found.name, found.tokenizer.name) == (1200, "net_toks", "toks")


@pytest.mark.parametrize(
    ("defaults", "message"),
    [
        ({"trian.lr": 1}, r'backbone "foo" has defaults for "trian\.lr"\. Did you mean "train"\?'),
        ({3: 1}, "expected a mapping such as"),
        ([("train.lr", 1)], "expected a mapping such as"),
    ],
)
def test_wishes_that_no_run_has_are_refused(defaults, message):
    host = loaded(sick=plugin(backbones=lambda register: register("foo", backbone("foo"), build, defaults=defaults)))
    assert re.search(message, str(host.broken["sick"])), str(host.broken["sick"])


def test_what_a_metric_may_ask_for_and_how_it_is_shown():
    def greedy(generated, reference, *, weights):
        return {}

    def modest(generated, reference, *, training, prompts=None, weights=None):
        return {}

    def metrics(register):
        register("first", modest, unit="bits", higher_is_better=None, headline=True)
        register("second", modest, unit="nats", higher_is_better=True, apart=True)

    host = loaded(
        good=plugin(metrics=metrics),
        sick=plugin(metrics=lambda register: register("third", greedy, unit="", higher_is_better=None)),
    )
    told = {name: host.metrics[name].extra for name in ("first", "second")}
    assert told == {
        "first": {"unit": "bits", "higher_is_better": None, "headline": True, "apart": False},
        "second": {"unit": "nats", "higher_is_better": True, "headline": False, "apart": True},
    }
    assert 'metric "third" asks for "weights"; it may ask for training, prompts' in str(host.broken["sick"])


def below():
    raise ValueError("two\n words")


def test_a_broken_plugin_is_told_by_the_deepest_line_of_its_own():
    def fails(register):
        below()

    def refuses(register):
        raise HubError("it wants more")

    host = loaded(sick=plugin(backbones=fails), shy=plugin(datasets=refuses))
    place = f"{__file__}:{below.__code__.co_firstlineno + 1}"
    said = f'plugin "sick" of sick-dist 1.0 is broken: ValueError: two words ({place}); mend or uninstall it'
    assert str(host.broken["sick"]) == said
    assert "is broken: it wants more (" in str(host.broken["shy"]), "an error for people needs no name"
    again = host.broken["sick"]
    assert f"{again.file}:{again.line}" == place


def test_two_broken_plugins_of_one_name_are_both_kept_and_listed():
    host = Manager()
    for version in ("1", "2"):
        host.add("sick", lambda: plugin(datasets=lambda register: 1 / 0), "dist", version)

    def backbones(register):
        register("z", backbone("z"), build)
        register("a", backbone("a"), build)

    def metrics(register):
        register("m", build, unit="u", higher_is_better=True)

    host.add("good", lambda: plugin(backbones=backbones, metrics=metrics), "d", "3")
    host.freeze()
    assert list(host.broken) == ["sick", "sick (dist 2)"] and host.broken["sick (dist 2)"].version == "2"
    rows = describe(host)
    assert [(row.kind, row.name) for row in rows] == [
        ("backbone", "a"), ("backbone", "z"), ("metric", "m"), ("broken", "sick"), ("broken", "sick (dist 2)"),
    ]  # fmt: skip
    assert [row.version for row in rows] == ["3", "3", "3", "1", "2"]
    assert rows[3].error == str(host.broken["sick"]) and rows[3].where.startswith(f"{__file__}:") and not rows[0].error


def test_what_is_asked_for_by_half_of_a_name():
    def fails(register):
        register("part", section("part"), build)
        raise RuntimeError("no luck")

    def presets(register):
        register(named_run)

    host = loaded(
        good=plugin(backbones=lambda register: register("net", backbone("net"), build), tokenizers=tokenizer("baz")),
        sick=plugin(tokenizers=fails),
        own=plugin(presets=presets),
    )
    with pytest.raises(BrokenPlugin, match="no luck"):
        host.preset("net_part")
    with pytest.raises(HubError, match=r'no backbone, tokenizer, supervisor or control "bas"\. Did you mean "baz"'):
        find(host, "bas")
    assert [entry.kind for entry in find(host, "baz")] == ["tokenizer"]
    assert host.preset("named_run").name == "its own"


def named_run():
    return replace(tiny(), name="its own")


def test_entry_points_of_one_name_come_in_the_order_of_their_distributions():
    points = [
        SimpleNamespace(name=name, value=value, dist=SimpleNamespace(name=dist))
        for name, dist, value in (("b", "one", "a"), ("a", "two", "b"), ("a", "one", "c"))
    ]
    order = [(point.name, point.dist.name) for point in chosen(points, None)]
    assert order == [("a", "one"), ("a", "two"), ("b", "one")]
    assert len(chosen(points, " a ,, ")) == 2
