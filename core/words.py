"""Words for people."""


def counted(count: int, thing: str) -> str:
    """`1 piece`, `2 pieces`."""
    return f"{count:,} {thing}" + "s" * (count != 1)
