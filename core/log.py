"""The hub's one logger, and what is said once."""

import logging
from functools import cache

logger = logging.getLogger("swaptunes")


@cache
def say_once(message: str) -> None:
    """Logs `message` as information the first time this process meets it."""
    logger.info(message)


@cache
def warn_once(message: str) -> None:
    """Logs `message` as a warning the first time this process meets it."""
    logger.warning(message)
