"""Mutations of ABC tunes at the level of fields and music symbols, so that most of them are still music."""

import re
from random import Random

_TOKEN = re.compile(
    r"""\[[A-Za-z]:[^\]]*\]|"[^"]*"|![^!]*!|\{[^}]*\}|\(\d(?::\d*){0,2}|\[\d[\d,-]*|[|:\[\]]*\|[|:\]]*\d?|::"""
    r"""|[\^_=]*[A-Ga-g][,']*\d*/*\d*|[zxZX]\d*/*\d*|[<>]+|\s+|.""",
    re.DOTALL,
)
NUMBERS = ("0", "1", "2", "3", "7", "16", "31", "64", "999", "65536", "4294967296", "9" * 40, "-1", "1.5")
VALUES = {
    "K": (
        "C",
        "Am",
        "Gmix",
        "F#dor",
        "Bbmaj",
        "Cb",
        "C#",
        "HP",
        "Hp",
        "none",
        "",
        "Zz",
        "D =c ^g",
        "A exp ^f",
        "G#mix",
    ),
    "M": ("4/4", "C|", "C", "6/8", "none", "2+3/8", "(2+3)/8", "7/8", "4/0", "0/4", "999/1", "1/64", "banana", "9/8"),
    "L": ("1/8", "1/4", "1/16", "1/1", "1/0", "1/512", "3/8", "4", "0", "1/1000", "x"),
    "Q": ("1/4=120", "120", "3/8=60", "C=80", '"Allegro" 1/4=90', "0", "1/4=0", "1/4=99999", "1/4 3/8=40", "1/0=9"),
    "V": ("1", "2", "1 clef=bass", "3 octave=-2", "2 transpose=12", "T transpose=5", '4 name="a\\"', "", "%"),
    "P": ("AB", "A2B", "(AB)3", "((A2B)9C)9", "A", "B", "(", "((((((((((", "A99B99", "AAAA"),
    "X": ("1", "2", "0", "99999999999", "x", "../../1"),
    "T": ("", "../../../etc/passwd", "a\x1b[2J", "<script>", "\N{MUSICAL SYMBOL G CLEF}", "T" * 500, "%41"),
    "m": ("~n2 = (3n/o/n/", "x = x x x"),
    "U": ("T = !trill!",),
    "w": ("la la-la *", "", "| a_ -- |", "b~c \\- d-|||", "\\'e &eacute; \u0436 \\", "_ - _-* 1.~x" * 30),
    "+": ("la la", "|"),
    "I": ("abc-charset utf-8", "linebreak $"),
}
SYMBOLS = (
    *("|:", ":|", "::", "||", "|]", "[|", "|1", ":|2", "[1", "[2", "[1,3", "[1-9", "[20", ":::|", "|:::", "[|]"),
    *("[CEG]", "[C2E2G2]3", "[C2E]", "[", "]", "[]", "[[CE]G]", "{g}", "{gab}", "{", "}", "{}", "{g|a}", "[{g}C]"),
    *("(3", "(3:2:3", "(9", "(2:3:32", "(5::", "(1", "(0", "(3:0:0", "(3:999:9", "(4(3", "-", "--", ">", "<<", ">>>>"),
    *("z", "Z4", "Z1000", "Z0", "X9", "x3", "z/", "y4", "`", "\\", "$", "*", ".", "~", "!trill!", "!", "+", "+CEG+"),
    *(
        '"Am7"',
        '"',
        "&",
        "%",
        "\0",
        "\N{NO-BREAK SPACE}",
        "\ufeff",
        "\N{MUSIC FLAT SIGN}B",
        "é",
        "=3D",
        "=20",
        "\u2028",
    ),
    *("^^c", "__B", "=f", "^_c", "c''''''''''", "C,,,,,,,,", "A/", "A//", "A3/2", "A0", "A/0", "A////////////////"),
    *("%%MIDI program 300", "[K:Dm]", "[M:3/4]", "[L:1/16]", "[V:2]", "[Q:0]", "[P:A]", "[r:remark]", "[K:", "s:"),
)
PITCHES = "CDEFGABcdefgab"


def mutated(random: Random, data: bytes, other: bytes) -> bytes:
    """A mutation of the tune or book `data`; `other` lends lines and symbols."""
    text, lender = data.decode("utf-8", "replace"), other.decode("utf-8", "replace")
    tokens = _TOKEN.findall(text)
    for _ in range(min(1 + int(random.expovariate(0.5)), 12)):
        if random.random() < 0.25 or not tokens:
            tokens = _TOKEN.findall(_by_line(random, "".join(tokens), lender))
        else:
            _by_symbol(random, tokens, lender)
    return _encoded(random, "".join(tokens))


def _by_line(random: Random, text: str, lender: str) -> str:
    lines = text.split("\n")
    place = random.randrange(len(lines))
    way = random.randrange(9)
    if way < 3:
        letter = random.choice(tuple(VALUES))
        value = random.choice(VALUES[letter]) if random.random() < 0.95 else random.choice(NUMBERS)
        same = [number for number, line in enumerate(lines) if line.startswith(f"{letter}:")]
        if same and random.random() < 0.7:
            lines[random.choice(same)] = f"{letter}:{value}"
        else:
            lines.insert(place, f"{letter}:{value}")
    elif way == 3:
        del lines[place]
    elif way == 4:
        lines[place:place] = [lines[place]] * random.choice((1, 1, 2, 60))
    elif way == 5:
        lines.insert(place, random.choice(lender.split("\n")))
    elif way == 6:
        lines[place] = lines[place][: random.randrange(len(lines[place]) + 1)]
    elif way == 7:
        lines.insert(place, random.choice(("", "", "% a comment", "%%staves (1 2)", "X:9", "V:2", "K:Em", "+:more")))
    elif place + 1 < len(lines):
        lines[place], lines[place + 1] = lines[place + 1], lines[place]
    return "\n".join(lines)


def _by_symbol(random: Random, tokens: list[str], lender: str) -> None:
    place = random.randrange(len(tokens))
    way = random.randrange(10)
    if way < 3:
        tokens.insert(place, random.choice(SYMBOLS) if way else _note(random))
    elif way == 3:
        tokens[place] = _note(random)
    elif way == 4:
        del tokens[place : place + random.choice((1, 1, 1, 4, 20))]
    elif way == 5:
        tokens[place:place] = tokens[place : place + random.choice((1, 1, 5, 20))] * random.choice((1, 1, 2, 40))
    elif way == 6:
        part = tokens[place : place + random.choice((1, 3, 9))]
        del tokens[place : place + len(part)]
        at = random.randrange(len(tokens) + 1)
        tokens[at:at] = part
    elif way == 7:
        lent = _TOKEN.findall(lender)
        at = random.randrange(len(lent))
        tokens[place:place] = lent[at : at + random.choice((1, 3, 9))]
    elif way == 8:
        numbers = [at for at, token in enumerate(tokens) if any(char.isdigit() for char in token)]
        if numbers:
            at = random.choice(numbers)
            tokens[at] = re.sub(r"\d+", lambda _: random.choice(NUMBERS), tokens[at], count=1)
    else:
        tokens[place] = tokens[place].swapcase()


def _note(random: Random) -> str:
    sign = random.choice(("", "", "", "^", "_", "=", "^^", "__"))
    octave = random.choice(("", "", "'", ",", "''", ",,"))
    length = random.choice(("", "", "2", "3", "4", "/", "/2", "3/2", "//", "/4", "7", "8", "3/4", "16", "5/3"))
    return sign + random.choice(PITCHES) + octave + length + random.choice(("", "", "", "-", " "))


def _encoded(random: Random, text: str) -> bytes:
    """UTF-8, rarely another encoding or other line ends."""
    way = random.random()
    if way < 0.03:
        text = text.replace("\n", random.choice(("\r\n", "\r")))
    elif way < 0.05:
        text = "\ufeff" + text
    if 0.05 < way < 0.06:
        return text.encode("utf-16", "surrogatepass")
    if 0.06 < way < 0.08:
        return text.encode("latin-1", "replace")
    return text.encode("utf-8", "surrogatepass")
