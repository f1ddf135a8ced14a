"""What a person is told, and how a work names itself."""

from core.contracts.piece import Piece
from core.errors import did_you_mean, unknown


def test_the_nearest_name_is_told_else_what_there_is() -> None:
    assert did_you_mean("mambo", ["lstm", "mamba", "mamba2"]) == ' Did you mean "mamba"?'
    assert did_you_mean("x", ["b", "a", "b"]) == " Known: a, b."
    assert did_you_mean("x", []) == " None is known."
    twelve = [f"name{letter}" for letter in "abcdefghijkl"]
    assert did_you_mean("?", twelve) == f" Known: {', '.join(twelve)}."
    assert did_you_mean("?", [*twelve, "namem"]) == f" Known: {', '.join(twelve)}, ...."
    assert str(unknown("backbone", "mambo", ["mamba"])) == 'there is no backbone "mambo". Did you mean "mamba"?'


def test_a_piece_names_its_source() -> None:
    def never() -> str:
        raise AssertionError

    assert repr(Piece("book.abc#2", "title", "00", never, never)) == "Piece('book.abc#2')"
