"""Memory that a training step frees is kept for the next step, which wants the same.

The C library gives freed memory back to the system, which then has to clear and map every page again, step after step:
up to a fifth of the time of a step.
"""

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h of glibc
_LARGEST_BLOCK = 32 << 20  # bytes; glibc takes no more
_MOST_KEPT = (1 << 31) - 1  # bytes


def keep_freed_memory() -> bool:
    """Tells glibc's allocator to keep what is freed, up to 2 GiB; False where there is no glibc."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # another C library
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _LARGEST_BLOCK)) and bool(mallopt(_M_TRIM_THRESHOLD, _MOST_KEPT))
