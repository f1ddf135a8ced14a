"""The hub's one logger, and warnings that are said once."""

import logging
from functools import cache

logger = logging.getLogger("swaptunes")


@cache
def warn_once(message: str) -> None:
    """Logs `message` as a warning the first time this process meets it."""
    logger.warning(message)
