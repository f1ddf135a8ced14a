"""Memory that a training step frees is kept for the next step, which wants the same, and lies in huge pages.

The C library gives freed memory back to the system, which then has to clear and map every page again, step after step:
up to a fifth of the time of a step. Looking up small pages costs a thirtieth more where the system gives huge ones only
to those who ask.
"""

import ctypes
import sys
from pathlib import Path

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3  # malloc.h of glibc
_USUAL_PAD = 128 << 10  # bytes of M_TOP_PAD unless set
_LARGEST_BLOCK = 32 << 20  # bytes; glibc takes no more
_MOST_KEPT = (1 << 31) - 1  # bytes
_IN_HUGE_PAGES = 1 << 30  # bytes of the heap; addresses, no memory until used
_MADV_HUGEPAGE = 14  # sys/mman.h of Linux


def keep_freed_memory() -> bool:
    """Tells glibc's allocator to keep what is freed, up to 2 GiB; False where there is no glibc."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        library = ctypes.CDLL(None)
        mallopt = library.mallopt
    except (AttributeError, OSError):  # another C library
        return False
    kept = bool(mallopt(_M_MMAP_THRESHOLD, _LARGEST_BLOCK)) and bool(mallopt(_M_TRIM_THRESHOLD, _MOST_KEPT))
    if kept:
        _ask_for_huge_pages(library)
    return kept


def _ask_for_huge_pages(library: ctypes.CDLL) -> None:
    """For the whole heap, grown ahead; whether there are any is the system's business."""
    library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    library.free.argtypes = [ctypes.c_void_p]
    library.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    library.mallopt(_M_TOP_PAD, _IN_HUGE_PAGES)
    library.free(library.malloc(_LARGEST_BLOCK - (1 << 20)))  # the heap grows by this and the pad
    library.mallopt(_M_TOP_PAD, _USUAL_PAD)
    try:
        maps = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace")
    except OSError:  # a sandbox without /proc
        return
    for line in maps.splitlines():
        if line.endswith("[heap]"):
            begin, end = (int(address, 16) for address in line.split()[0].split("-"))
            library.madvise(begin, end - begin, _MADV_HUGEPAGE)
