"""What a person wants who types a verb that there is not, in other tools' words; and a path where a preset belongs."""

from difflib import get_close_matches
from pathlib import Path
from shlex import quote

from core.names import meaning

# The forms to type -> what other tools call them.
_MEANT = {
    ("generate",): "sample sampling infer inference predict synthesize compose improvise complete create make draw",
    ("studio",): "play player serve server demo gui app ui web interactive jam chat",
    ("train",): "fit pretrain learn training",
    ("train PRESET model.start=RUN",): "finetune finetuning tune transfer adapt",
    ("train --run RUN",): "resume restart",
    ("train --run RUN", "generate --run RUN generate.prompt=FILE"): "continue extend",
    ("evaluate",): "eval evaluation test score validate measure metrics perplexity assess",
    ("bench",): "benchmark benchmarks profile speed",
    ("prepare PRESET tokenizer.bpe=SIZE",): "trainbpe learnbpe traintokenizer trainvocab buildvocab",
    ("prepare",): "convertdirtonotesequences tokenize tokenise preprocess process encode download fetch data dataset",
    ("list",): "ls info show plugins presets models backbones tokenizers datasets controls",
    ("compare",): "sweep search gridsearch ablate ablation versus vs leaderboard",
    ("convert",): "export render transcode",
    ("listen",): "survey rate vote abtest mushra",
    ("check",): "verify lint laws",
    ("help",): "usage man docs",
}
_BY_WORD = {word: forms for forms, words in _MEANT.items() for word in words.split()}
VERBS = {form.split()[0] for forms in _MEANT for form in forms}
_SLIP = 0.8  # least likeness of a verb that is spelled wrongly


def verb_meant(word: str, slips: bool = True) -> str:
    """' Did you mean "generate"?' for `sample`, and with `slips` for `genrate`; empty where no verb is meant."""
    parts = word.lower().replace("-", "_").split("_")
    plain = "".join(parts)
    near = [one for one in (plain, parts[-1], parts[0]) if one in _BY_WORD or one in VERBS][:1]  # music_vae_generate
    near = near or get_close_matches(plain, [*sorted(VERBS), *_BY_WORD], n=1, cutoff=_SLIP)
    forms = [form for one in near if slips or one in (plain, *parts) for form in _BY_WORD.get(one, (one,))]
    return meaning(forms) if forms else ""


def path_meant(word: str) -> str:
    """What to type where `word` is a run or music of one's own in the place of a preset; empty where it is neither."""
    from datatools.reading.scores import EXTENSIONS  # here, as reading music takes longer to load than a hint may

    path = Path(word)
    if (path / "hparams.yaml").is_file():
        return f" {word} is a run; go on with it: --run {quote(word)}"
    if path.is_file() and path.suffix.lower() in EXTENSIONS:
        prompt = f"generate --run RUN {quote(f'generate.prompt={word}')}"
        return f" {word} is a file of music; to go on from it: {prompt}"
    if not path.is_dir():
        return ""
    own = f"train PRESET dataset=folder {quote(f'dataset.path={word}')}"
    return f" {word} is a folder; to train on the music in it: {own}"
