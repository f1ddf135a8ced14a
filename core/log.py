"""The hub's one logger, and warnings that are said once."""

import logging
from functools import lru_cache

logger = logging.getLogger("swaptunes")


@lru_cache(maxsize=None)
def warn_once(message: str) -> None:
    """Logs `message` as a warning the first time this process meets it."""
    logger.warning(message)
