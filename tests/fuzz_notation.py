"""Mutations of MusicXML, compressed MusicXML and kern at the level of elements and tokens."""

import copy
import io
import struct
import zipfile
from random import Random
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

NUMBERS = ("0", "1", "-1", "3", "7", "127", "128", "480", "100000", "2147483648", "1e308", "nan", "0.1", "1/3", "", "x")
TEXTS = ("", "../../etc/passwd", "a\x1f", "\N{MUSICAL SYMBOL G CLEF}", "x" * 500, "C", "quarter", "minor", "percussion")
SNIPPETS = (
    "<backup><duration>4</duration></backup>",
    "<backup><duration>1000</duration></backup>",
    "<forward><duration>6</duration></forward>",
    "<forward><duration>1000000000</duration></forward>",
    "<note><grace/><pitch><step>A</step><octave>4</octave></pitch></note>",
    "<note><chord/><pitch><step>E</step><alter>1</alter><octave>4</octave></pitch><duration>6</duration></note>",
    "<note><rest measure='yes'/><duration>24</duration></note>",
    "<note><pitch><step>B</step><octave>99</octave></pitch><duration>6</duration></note>",
    "<note><unpitched/><duration>6</duration></note>",
    "<note><pitch><step>C</step><octave>4</octave></pitch><duration>6</duration><tie type='start'/></note>",
    "<note><pitch><step>C</step><octave>4</octave></pitch><duration>4</duration><time-modification>"
    "<actual-notes>3</actual-notes><normal-notes>0</normal-notes></time-modification></note>",
    "<attributes><divisions>0</divisions></attributes>",
    "<attributes><divisions>7</divisions></attributes>",
    "<attributes><time><beats>3+2</beats><beat-type>8</beat-type></time></attributes>",
    "<attributes><time><beats>0</beats><beat-type>0</beat-type></time></attributes>",
    "<attributes><key><fifths>99</fifths></key></attributes>",
    "<attributes><transpose><chromatic>-99</chromatic></transpose></attributes>",
    "<attributes><staves>2</staves></attributes>",
    "<barline location='right'><repeat direction='backward' times='9999'/></barline>",
    "<barline location='left'><repeat direction='forward'/></barline>",
    "<barline location='right'><ending number='1' type='stop'/><repeat direction='backward'/></barline>",
    "<barline location='left'><ending number='2' type='start'/></barline>",
    "<direction><sound dacapo='yes'/></direction>",
    "<direction><direction-type><words>D.S. al Coda</words></direction-type><sound dalsegno='s'/></direction>",
    "<direction><direction-type><metronome><beat-unit>half</beat-unit><per-minute>0</per-minute></metronome>"
    "</direction-type><sound tempo='-3'/></direction>",
    "<harmony><root><root-step>G</root-step></root><kind>dominant</kind></harmony>",
    "<sound tempo='1e9'/>",
    "<attributes><staves>2147483648</staves></attributes>",
    "<attributes><time><beats>1000000</beats><beat-type>4</beat-type></time></attributes>",
)
ENTITIES = (
    '<!DOCTYPE a [<!ENTITY b "c">]>',
    '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]>',
    '<!DOCTYPE a [<!ENTITY a "aaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]>',
    '<!DOCTYPE a SYSTEM "http://127.0.0.1:9/a.dtd">',
    '<!DOCTYPE a [<!ENTITY % p SYSTEM "http://127.0.0.1:9/p"> %p;]>',
)


def musicxml(random: Random, data: bytes, other: bytes) -> bytes:
    """A mutation of a MusicXML file; `other` lends measures."""
    root, lender = ElementTree.fromstring(data), ElementTree.fromstring(other)
    for _ in range(min(1 + int(random.expovariate(0.5)), 12)):
        _element(random, root, lender)
    text = ElementTree.tostring(root, encoding="unicode")
    way = random.random()
    if way < 0.02:
        text = random.choice(ENTITIES) + text.replace("</part-name>", "&b;</part-name>", 1)
    elif way < 0.03:
        return ('<?xml version="1.0" encoding="UTF-16"?>' + text).encode("utf-16")
    elif way < 0.04:
        return ('<?xml version="1.0" encoding="none-such"?>' + text).encode()
    elif way < 0.05:
        text = text[: random.randrange(len(text))]
    elif way < 0.06:
        text = text.replace("<measure", "<a>" * 3000 + "<measure", 1)
    return text.encode("utf-8", "surrogatepass")


def _element(random: Random, root: Element, lender: Element) -> None:
    """One change of one element, its text, its attributes or its place."""
    parents = [element for element in root.iter() if len(element)]
    if not parents:
        return
    parent = random.choice(parents)
    place = random.randrange(len(parent))
    child = parent[place]
    way = random.randrange(11)
    if way < 3:
        leaves = [element for element in root.iter() if not len(element) and (element.text or "").strip()]
        numbers = [element for element in leaves if (element.text or "").strip().lstrip("-").isdigit()]
        if numbers and random.random() < 0.8:
            leaf = random.choice(numbers)
            small = str(max(0, int((leaf.text or "0").strip()) + random.choice((-1, 1, 2))))
            leaf.text = small if random.random() < 0.6 else random.choice(NUMBERS)
        elif leaves:
            random.choice(leaves).text = random.choice(TEXTS).replace("\x1f", " ")
    elif way == 3:
        parent.remove(child)
    elif way == 4:
        for _ in range(random.choice((1, 1, 2, 30))):
            parent.insert(place, copy.deepcopy(child))
    elif way == 5:
        parent.remove(child)
        parent.insert(random.randrange(len(parent) + 1), child)
    elif way < 8:
        measures = list(root.iter("measure")) or [root]
        measure = random.choice(measures)
        measure.insert(random.randrange(len(measure) + 1), ElementTree.fromstring(random.choice(SNIPPETS)))
    elif way == 8:
        lent = list(lender.iter("measure"))
        parts = list(root.iter("part"))
        if lent and parts:
            part = random.choice(parts)
            part.insert(random.randrange(len(part) + 1), copy.deepcopy(random.choice(lent)))
    elif way == 9:
        owners = [element for element in root.iter() if element.attrib]
        if owners:
            owner = random.choice(owners)
            owner.set(
                random.choice(list(owner.attrib)), random.choice((*NUMBERS, "start", "stop", "yes", "P1", "right"))
            )
    else:
        child.tag = random.choice(("note", "rest", "chord", "grace", "measure", "part", "duration", "backup", "odd"))


def mxl(random: Random, data: bytes, other: bytes) -> bytes:
    """A mutated MusicXML file, packed; the archive is odd at times."""
    xml = musicxml(random, data, other) if random.random() < 0.8 else data
    buffer = io.BytesIO()
    way = random.random()
    name = random.choice(("../a.xml", "/a.xml", "a\\..\\..\\b.xml", "\N{SNOWMAN}.xml")) if way < 0.05 else "score.xml"
    with zipfile.ZipFile(buffer, "w", random.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        if random.random() < 0.7:
            root = random.choice((name, "none.xml", "")) if way < 0.1 else name
            inside = f'<container><rootfiles><rootfile full-path="{root}"/></rootfiles></container>'
            archive.writestr("META-INF/container.xml", inside[: random.randrange(80)] if way > 0.97 else inside)
        archive.writestr(name, xml)
        if 0.1 < way < 0.13:
            archive.writestr("bomb.xml", bytes(random.choice((1, 70)) << 20))
    packed = bytearray(buffer.getvalue())
    if 0.13 < way < 0.16:  # a size that lies, in the index
        at = packed.rfind(b"PK\x01\x02")
        packed[at + 24 : at + 28] = struct.pack("<I", random.choice((0, 5, 2**31)))
    elif 0.16 < way < 0.2:
        packed[random.randrange(len(packed))] ^= 1 << random.randrange(8)
    elif 0.2 < way < 0.22:
        del packed[random.randrange(len(packed)) :]
    return bytes(packed)


KERN = (
    *(
        "4c",
        "8.dd#",
        "2r",
        "16ee-",
        "1C",
        "4c 4e 4g",
        ".",
        "q8g",
        "[4c",
        "4c]",
        "0c",
        "4",
        "c",
        "3%2c",
        "4c&",
        "999999c",
    ),
    *("*M3/4", "*M0/0", "*MM0", "*MM140", "*k[f#]", "*clefF4", "*^", "*v", "*v\t*v", "*-", "*", "*>A", "*>[A,A]"),
    *(
        "=1",
        "==",
        "=:|!",
        "=!|:",
        "!",
        "!!!OTL: ../../x",
        "**kern",
        "**text",
        "",
        "\0",
        "\N{SNOWMAN}",
        "4ccccccccccccccc",
    ),
)


def kern(random: Random, data: bytes, other: bytes) -> bytes:
    """A mutation of a kern file; `other` lends lines."""
    lines = [line.split("\t") for line in data.decode("utf-8", "replace").split("\n")]
    lent = other.decode("utf-8", "replace").split("\n")
    for _ in range(min(1 + int(random.expovariate(0.5)), 12)):
        place = random.randrange(len(lines))
        line = lines[place]
        way = random.randrange(8)
        if way < 3:
            line[random.randrange(len(line))] = random.choice(KERN)
        elif way == 3:
            notes = [(row, at) for row in lines for at, token in enumerate(row) if token[:1].isdigit()]
            if notes:
                row, at = random.choice(notes)
                row[at] = str(random.choice((1, 2, 4, 8, 3, 6, 5))) + random.choice(("c", "dd", "E-", "f#", "r", "GG"))
        elif way == 4:
            lines[place:place] = [list(line) for _ in range(random.choice((1, 1, 30)))]
        elif way == 5 and len(lines) > 1:
            del lines[place]
        elif way == 6:
            lines.insert(place, random.choice(lent).split("\t"))
        else:
            line.insert(random.randrange(len(line) + 1), random.choice(KERN)) if random.random() < 0.5 else line.pop()
            line or line.append("")
    return "\n".join("\t".join(line) for line in lines).encode("utf-8", "surrogatepass")
