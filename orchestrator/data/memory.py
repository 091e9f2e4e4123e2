"""Memory that a preprocessing worker keeps between windows, instead of asking for it each time."""

import ctypes
import platform

# From malloc.h of the GNU C library.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
# Freed memory is kept up to this much, and arrays up to this size come from what is kept.
_KEPT_BYTES = (1 << 31) - 1
_LARGEST_BYTES = 1 << 30


def keep_freed_memory() -> bool:
    """Lets this process keep what it frees; whether that was possible.

    A worker makes arrays of the same sizes again and again. By default the C library gives large
    ones back to the system at once, and every page of the next one is cleared anew: a quarter of
    the time of a cheap transform. The process stays as large as it has been at its largest.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    kept = libc.mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
    return bool(kept and libc.mallopt(_M_MMAP_THRESHOLD, _LARGEST_BYTES))
