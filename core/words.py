"""Words for people."""


def counted(count: float, thing: str) -> str:
    """`1 piece`, `2 pieces`, `1,000 pieces`, `0.5 pieces`."""
    return f"{count:,}".removesuffix(".0") + f" {thing}" + "s" * (count != 1)


def agree(count: float, one: str, several: str) -> str:
    """The form of a verb or the like that goes with so many: `agree(1, "is", "are")` is `is`."""
    return one if count == 1 else several
