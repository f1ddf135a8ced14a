"""Wrong commands that people type, from first users and from other tools' habits, each with the right hint."""

from pathlib import Path

import pytest

from core.errors import HubError
from hparams.base import HParams
from hparams.hints import meant
from hparams.sentences import sentences, settings
from hparams.tokenizers.note_tokens import NotesOnlyHParams
from plugins.manager import load_manager
from supervisors import helping, intents, listing
from supervisors.run import USAGE, VERBS, build_parser, main, parse

TINY = ("--hparams", "tiny")
# What is typed -> what the one line must hold.
WRONG = [
    ([*TINY, "--steps", "100"], "train.steps=100"),
    ([*TINY, "--lr", "1e-3"], "train.lr=1e-3"),
    (["generate", "--run", "runs/tiny", "--output", "x"], "generate.out=x"),
    ([*TINY, "--output", "x"], "name=x"),
    ([*TINY, "--out", "x"], "name=x"),
    (["prepare", *TINY, "--out", "x"], "SWAPTUNES_CACHE=x before the command"),
    (["prepare", *TINY, "--output-dir"], "SWAPTUNES_CACHE=FOLDER before the command"),
    ([*TINY, "--lr=1e-3"], "train.lr=1e-3"),
    ([*TINY, "--out_dir", "x"], "name=x"),
    ([*TINY, "--output-dir", "x"], "name=x"),
    ([*TINY, "--batch-size", "8"], "data.batch_size=8"),
    ([*TINY, "--max_steps", "10"], "train.steps=10"),
    ([*TINY, "--learning-rate", "1e-3"], "train.lr=1e-3"),
    ([*TINY, "--seed", "1"], "seed=1"),
    ([*TINY, "--epochs", "3"], "train.steps counts optimizer steps"),
    ([*TINY, "--device", "cuda"], "CUDA_VISIBLE_DEVICES"),
    ([*TINY, "--config", "a.yaml"], "--hparams takes a preset or a YAML file"),
    ([*TINY, "learning_rate=1e-3"], '"train.lr"'),
    ([*TINY, "train.learning_rate=1e-3"], '"train.lr"'),
    ([*TINY, "lr=1e-3"], '"train.lr"'),
    ([*TINY, "steps=10"], '"train.steps"'),
    ([*TINY, "max_iters=10"], '"train.steps"'),
    ([*TINY, "device=cuda"], "CUDA_VISIBLE_DEVICES"),
    ([*TINY, "batch_size=4"], '"data.batch_size"'),
    ([*TINY, "temperature=0.8"], '"generate.temperature"'),
    ([*TINY, "top_p=0.9"], '"generate.top_p"'),
    ([*TINY, "epochs=10"], "train.steps counts optimizer steps"),
    ([*TINY, "n_layers=2"], '"backbone.layers"'),
    ([*TINY, "d_model=64"], '"backbone.dim"'),
    ([*TINY, "hidden_size=64"], '"backbone.dim"'),
    ([*TINY, "block_size=128"], '"data.length"'),
    ([*TINY, "weight_decay=0.1"], '"train.weight_decay"'),
    ([*TINY, "dropout=0.1"], '"backbone.dropout"'),
    ([*TINY, "precision=bf16"], '"train.precision"'),
    ([*TINY, "gradient_accumulation_steps=2"], '"train.accumulate"'),
    ([*TINY, "model=lstm"], "backbone"),
    ([*TINY, "train.step=5"], '"train.steps"'),
    ([*TINY, "dataset.path=music"], "dataset=folder dataset.path=music"),
    ([*TINY, "dataset=./music"], "dataset=folder dataset.path=./music"),
    ([*TINY, "dataset=my/files"], "dataset=folder dataset.path=my/files"),
    ([*TINY, "dataset=my files/pop"], "dataset=folder 'dataset.path=my files/pop'"),
    ([*TINY, "backbone=mambo"], '"mamba"'),
    (["mamba_rmi"], '"mamba_remi"'),
    (["trian", *TINY], '"train"'),
    (["generate"], "generate needs --run"),
    (["generate", "--run", "nothing"], "not a folder, nor the name of a run"),
    (["generate", "--run", "stray.txt"], "is a file; expected the folder"),
    (["help", "augment"], '"data.augment"'),
    (["sample", "--run", "r"], '"generate"'),
    (["Predict"], '"generate"'),
    (["play"], '"studio"'),
    (["finetune", "runs/x"], '"train PRESET model.start=RUN"'),
    (["fine-tune"], '"train PRESET model.start=RUN"'),
    (["fit", *TINY], '"train"'),
    (["eval", "--run", "r"], '"evaluate"'),
    (["score"], '"evaluate"'),
    (["benchmark"], '"bench"'),
    (["tokenize"], '"prepare"'),
    (["encode"], '"prepare"'),
    (["continue"], '"train --run RUN" or "generate --run RUN generate.prompt=FILE"'),
    (["help", "sample"], '"generate"'),
    (["lstm"], "It is a backbone; with a tokenizer it is a preset, e.g. lstm_"),
    (["llama_abc"], '"transformer_abc"'),
    (["no such thing"], "list shows the presets"),
    (["train", "sample"], 'there is no preset "sample". list shows'),
    (["train", "music"], "train PRESET dataset=folder dataset.path=music"),
    (["music"], "train PRESET dataset=folder dataset.path=music"),
    (["--hparams", "music"], "train PRESET dataset=folder dataset.path=music"),
    (["prepare", "tiny", "music"], "train PRESET dataset=folder dataset.path=music"),
    (["train", "old"], "old is a run; go on with it: --run old"),
    ([*TINY, "tokenizer=REMI"], '"remi"'),
    ([*TINY, "backbone=llama"], '"transformer"'),
    ([*TINY, "backbone=s6"], '"mamba"'),
    ([*TINY, "backbone=xlstm"], '"mlstm"'),
    ([*TINY, "backbone=GPT-2"], '"gpt2"'),
    ([*TINY, "backbone=musictransformer"], '"music_transformer"'),
    ([*TINY, "generate.temperature=hot"], "generate.temperature is 'hot'; expected a number, e.g. 1.0"),
    ([*TINY, "tokenizer.lyrics=true"], '"tokenizer.lyrics". It is a setting of the tokenizer abc.\n'),
    ([*TINY, "lyrics=true"], "tokenizer.lyrics is a setting of the tokenizer abc.\n"),
    ([*TINY, "tokenizer.chords=true"], 'It is a setting of the tokenizer melody. Did you mean "tokenizer.use_chords"?'),
    ([*TINY, "n_heads=4"], "backbone.heads is a setting of the backbones attentive_gru, "),
    ([*TINY, "backbone.n_head=4"], "backbone.heads is a setting of the backbones attentive_gru, "),
    ([*TINY, "tokenizer=abc", "tokenizer.bpe=500"], "It is a setting of the tokenizers cpword, "),
    ([*TINY, "supervisor.encoder.backbone=gru"], 'encoder.backbone". It is a setting of the supervisor music_vae.'),
    ([*TINY, "backbone.blub=4"], 'no key "backbone.blub". Known: '),
    (["finetune_lora", "runs/x"], '"train PRESET model.start=RUN"'),
    (["music_vae_generate", "--mode=sample"], '"music_vae_generate". Did you mean "generate"?'),
    (["lm_eval", "--model", "hf", "--tasks", "x"], '"lm_eval". Did you mean "evaluate"?'),
    (["train_bpe", "tiny"], '"prepare PRESET tokenizer.bpe=SIZE"'),
    (["create_dataset", "music"], '"prepare"'),
    (["melody_rnn"], '"lstm_melody"'),
    (["song.mid"], "generate --run RUN generate.prompt=song.mid"),
    (["train", "song.mid"], "generate --run RUN generate.prompt=song.mid"),
    (["generate", "song.mid"], "generate --run RUN generate.prompt=song.mid"),
    (["--hparams", "batch_size=64,rnn_layer_sizes=[64,64]"], "expected a preset or a file, and settings behind it"),
    (["tiny", "--hparams", "lstm_remi"], "tiny and --hparams lstm_remi are two presets; expected one"),
    (["train", "--data", "music"], "dataset=folder dataset.path=music"),
    ([*TINY, "dataset=music"], "dataset=folder dataset.path=music"),
    ([*TINY, "tokenizer=BPE"], "tokenizer.bpe is a setting of the tokenizers cpword, "),
    ([*TINY, "tokenizer=REMIPlus"], '"remi"'),
    ([*TINY, "tokenizer.nb_velocities=16"], '"tokenizer.num_velocities"'),
    (
        [*TINY, "tokenizer.use_sustain_pedals=true"],
        '"tokenizer.options={use_sustain_pedals: true}": Any other',
    ),
    ([*TINY, "dataset=lmd_full"], '"lakh"'),
    ([*TINY, "dataset=maestro-v3.0.0"], '"maestro"'),
    ([*TINY, "--train.max_seq_length", "512"], "data.length=512"),
    ([*TINY, "--train.global_batch_size", "32"], "data.batch_size=32"),
    ([*TINY, "train.max_tokens=100000"], "train.steps counts optimizer steps, each of data.batch_size rows"),
    ([*TINY, "eval.interval=10"], 'no key "eval.interval". Did you mean "evaluate.every"?'),
    ([*TINY, "eval.every=10"], '"evaluate.every"'),
    ([*TINY, "--model_name_or_path", "gpt2"], "model.start=gpt2"),
    ([*TINY, "--per_device_train_batch_size", "8"], "data.batch_size=8"),
    ([*TINY, "--num_train_epochs", "3"], "train.steps counts optimizer steps"),
    ([*TINY, "--do_train"], "train trains, then evaluates"),
    ([*TINY, "--optim", "adamw_torch"], "AdamW trains everything: train.lr, "),
    ([*TINY, "--lr_scheduler_type", "cosine"], "falls along a cosine to train.lr_floor"),
    ([*TINY, "--save_total_limit", "3"], "checkpoint.keep=3"),
    ([*TINY, "--report_to", "wandb"], "train.trackers=wandb"),
    ([*TINY, "--resume_from_checkpoint", "x"], "--run FOLDER goes on with a run"),
    (["generate", "--run", "x", "--max_length", "100"], "generate.length=100"),
    (["generate", "--num_steps=128"], "generate.length=128"),
    (["generate", "--num_outputs=10"], "generate.count=10"),
    (["generate", "--primer_midi=song.mid"], "generate.prompt=song.mid"),
    (["generate", "--config=attention_rnn"], "--run FOLDER names the model"),
    (["generate", "--num_beams", "4"], "generate.temperature=0 takes the likeliest"),
    (["evaluate", "--model", "runs/x"], "--run FOLDER names the model"),
    (["evaluate", "--limit", "10"], "evaluate.count=10"),
    (["help", "control=kye"], 'there is no control "kye"'),
    (["help", "temperature"], '"generate.temperature"'),
]


@pytest.mark.parametrize("words, hint", WRONG, ids=[" ".join(words) for words, _ in WRONG])
def test_a_wrong_command_ends_in_one_line_with_the_right_hint(words, hint, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SWAPTUNES_RUNS", str(tmp_path / "runs"))
    Path("stray.txt").write_text("x")
    Path("song.mid").write_text("x")
    Path("music").mkdir()
    Path("old").mkdir()
    Path("old", "hparams.yaml").write_text("")
    with pytest.raises(SystemExit) as done:
        main(words)
    said = capsys.readouterr().err
    assert done.value.code == 2 and said.count("\n") == 1 and hint in said, said
    assert not Path("runs").exists()  # nothing is left behind by a mistake


# What other tools call a thing, and what it is called here.
ELSEWHERE = {
    "train.lr": "learning_rate max_lr base_lr eta",
    "train.steps": "max_steps num_steps n_steps iterations iters max_iters",
    "train.warmup": "warmup_steps warmup_iters num_warmup_steps",
    "train.lr_floor": "min_lr lr_min",
    "train.clip": "grad_clip max_grad_norm clip_grad gradient_clip_val",
    "train.accumulate": "gradient_accumulation_steps accumulate_grad_batches grad_accum accumulation",
    "train.precision": "fp16 bf16 amp dtype mixed_precision",
    "train.patience": "early_stopping early_stop",
    "data.batch_size": "bs batch train_batch_size micro_batch_size per_device_batch_size",
    "data.length": "seq_len seq_length sequence_length max_seq_len max_seq_length context_length block_size",
    "data.workers": "num_workers n_workers",
    "data.augment.transpose": "transposition pitch_shift",
    "backbone.dim": "d_model hidden_size n_embd embed_dim model_dim hidden_dim width",
    "backbone.layers": "n_layers num_layers n_layer num_hidden_layers depth",
    "backbone.heads": "n_heads num_heads n_head num_attention_heads",
    "backbone.dropout": "dropout_rate p_dropout drop",
    "tokenizer.bpe": "vocab_size vocabulary_size bpe_size",
    "generate.length": "max_tokens max_new_tokens gen_length num_tokens",
    "generate.count": "num_samples n_samples samples n",
    "generate.prompt": "prime primer seed_file prompt_file input",
    "evaluate.every": "eval_every eval_interval val_every eval_steps",
    "checkpoint.every": "save_every save_interval save_steps ckpt_every",
    "dataset.path": "data_dir data_path dataset_path dataset_dir midi_dir",
    "model.start": "pretrained init_from checkpoint_path load finetune",
    "name": "out_dir output output_dir save_dir log_dir run_name exp_name",
    "seed": "random_seed rng_seed",
    "backbone": "arch architecture model_type network",
    "tokenizer": "tokenization encoding representation",
}


def test_what_other_tools_call_a_thing():
    known = [one.key for one in settings(HParams())]
    found = {word: meant(word, known) for words in ELSEWHERE.values() for word in words.split()}
    assert found == {word: f' Did you mean "{key}"?' for key, words in ELSEWHERE.items() for word in words.split()}
    assert meant("output", known, ("generate.",)) == ' Did you mean "generate.out"?'
    # Of several sections the one at hand, else the first that is no deeper than another.
    assert meant("every", known, ("evaluate.",)) == ' Did you mean "evaluate.every"?'
    assert meant("every", known) == ' Did you mean "checkpoint.every"?' and meant("blub", known) == ""
    assert meant("blub.bla", known) == "", "what is far from all is none of them"
    assert meant("tempo", ["a.b.tempo", "z.tempo"]) == ' Did you mean "z.tempo"?'
    assert meant("data.lentgh", known) == ' Did you mean "data.length"?'


def test_there_are_forty_of_them():
    assert len(WRONG) >= 40


@pytest.mark.parametrize("words", [["train", "tiny"], ["tiny"], ["--hparams", "tiny"], ["tiny", "train.steps=3"]])
def test_a_preset_may_stand_without_its_flag(words):
    options = parse(build_parser(), words)
    assert (options.verb, options.hparams) == ("train", "tiny")
    assert options.words == [word for word in words if "=" in word]


def test_the_name_of_a_run_stands_for_its_folder(tmp_path, monkeypatch):
    from supervisors.asking import existing

    monkeypatch.setenv("SWAPTUNES_RUNS", str(tmp_path))
    (tmp_path / "mytunes").mkdir()
    assert existing(parse(build_parser(), ["generate", "--run", "mytunes"]), "generate") == tmp_path / "mytunes"
    plain = parse(build_parser(), ["generate", "mytunes", "generate.count=1"])
    assert existing(plain, "generate") == tmp_path / "mytunes" and plain.words == ["generate.count=1"]


def test_version_is_said(capsys):
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out.startswith("swaptunes 0.")


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_answers_help(verb, capsys):
    for words in ([verb, "--help"], ["help", verb]):
        with pytest.raises(SystemExit) as done:
            main(words)
        assert done.value.code == 0 and f"swaptunes {verb}" in capsys.readouterr().out


def test_help_has_the_defaults_and_the_sentences_of_the_dataclasses():
    text = helping.of_verb("generate", USAGE, load_manager())
    assert "generate.top_p=0.94" in text and "Seed of the draws;" in text
    own = helping.of_key("backbone=lstm", load_manager())
    assert "backbone.layers=3" in own and "Number of layers." in own
    manager = load_manager()

    def keys(text):
        return [row.split("=")[0].strip() for row in text.splitlines() if row.startswith("  ") and row[2] != " "]

    assert keys(helping.of_key("train.lr", manager)) == keys(helping.of_key("train.lr=3", manager)) == ["train.lr"]
    assert keys(helping.of_key("data.augment", manager)) == [
        f"data.augment.{key}" for key in ("transpose", "tempo", "velocity", "crop")
    ]
    assert keys(helping.of_key("compare.seeds", manager)) == ["compare.seeds"]
    chosen = helping.of_key("tokenizer.bpe", manager)
    assert chosen.startswith("tokenizer.* are the keys of the tokenizer that is chosen: help tokenizer=NAME with ")
    with pytest.raises(HubError, match=r'no key "trian\.lr"\. Did you mean "train\.lr"\?'):
        helping.of_key("trian.lr", manager)
    tops = {verb: {key.split(".")[0] for key in keys(helping.of_verb(verb, USAGE, manager))} for verb in VERBS}
    assert tops["generate"] == {"generate"} and tops["evaluate"] == {"evaluate", "generate"}
    assert tops["compare"] == {"compare"} and tops["studio"] == {"studio"} and tops["listen"] == {"listen"}
    assert tops["prepare"] == {"seed", "data", "supervisor", "backbone", "tokenizer", "dataset"}
    assert tops["train"] >= {"name", "seed", "model", "data", "train", "evaluate", "checkpoint", "generate"}
    shown = [helping.shown(value) for value in (True, [1, False], "", None, {}, 0, 0.0, "x", (0.9, 0.95))]
    assert shown == ["true", "[1,false]", "", "", "", "0", "0.0", "x", "[0.9,0.95]"]
    lines = text.splitlines()
    assert lines[0].startswith("swaptunes generate ") and not lines[1].startswith("swaptunes")
    assert "python -m supervisors.run generate --run runs/mamba_remi generate.count=8 generate.bars=16" in lines


def test_words_of_other_tools_lead_to_verbs_that_there_are():
    assert {*VERBS, "help"} == intents.VERBS
    assert [intents.verb_meant(word) for word in ("lstm", "mamba", "tiny", "runs")] == [""] * 4


def test_a_control_says_what_it_takes_in_help_and_in_the_list():
    manager = load_manager()
    for text in (helping.of_key("control=key", manager), listing.one(manager, "key")):
        assert "takes a tonic from A to G" in text and "model.controls=[key]" in text
        assert "generate --run FOLDER 'generate.controls.key=F# minor'" in text
    learned = helping.of_key("control=label", manager)
    assert "takes what the data's labels hold" in learned and "controls.label.column=label" in learned


def test_a_line_of_the_usage_has_its_verb():
    lines = helping.of_verb("train", USAGE, load_manager()).splitlines()
    assert lines[1].startswith("swaptunes train --run FOLDER") and lines[2].startswith("swaptunes train ... dry=true")


def test_every_setting_has_a_sentence():
    manager = load_manager()
    silent = [one.key for one in settings(HParams()) if not one.sentence]
    for slot in ("backbone", "tokenizer", "dataset"):
        (registry,) = (registry for registry in manager.registries if registry.kind == slot)
        for entry in registry.values():
            if entry.distribution == "swaptunes":
                found = settings(manager.section(slot, entry.name), f"{slot}.")
                silent += [f"{entry.name}: {one.key}" for one in found if not one.sentence]
    assert silent == []
    assert sentences(HParams)["seed"] == "Seed of weights, order of data, dropout and augmentation."
    own = sentences(NotesOnlyHParams)  # a class's own word goes before that of the class below it
    assert own["use_tempos"] == "Notes only are told." and own["num_tempos"] == "Steps of tempo."
