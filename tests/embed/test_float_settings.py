"""Another library's floating-point settings in the calling thread: no bit of a vector changes, and they stay as they were.

The settings are glibc's `fenv_t`, loaded as they stand, so that flushing subnormals (FTZ, DAZ) can be switched on too.
"""

import ctypes
import platform
import sys

import pytest

from engram.embed import load_embedder

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"), reason="needs glibc's fenv_t"
)

# Where the settings stand in fenv_t (words of 32 bits), and the bits: each way of rounding, and flushing to zero.
if platform.machine() == "x86_64":
    WORD, ROUNDING, FLUSH = 7, [way << 13 for way in range(4)], 1 << 15 | 1 << 6  # MXCSR
else:
    WORD, ROUNDING, FLUSH = 0, [way << 22 for way in range(4)], 1 << 24  # FPCR
FOREIGN = [*ROUNDING[1:], FLUSH, ROUNDING[1] | FLUSH]

Fenv = ctypes.c_uint32 * 16


def under(settings, work):
    """Do `work` under `settings`; return what it gave and which of those bits stood afterwards."""
    libm = ctypes.CDLL("libm.so.6")
    own, foreign, left = Fenv(), Fenv(), Fenv()
    libm.fegetenv(own)
    foreign[:] = own[:]
    foreign[WORD] |= settings
    libm.fesetenv(foreign)
    try:
        result = work()
    finally:
        libm.fegetenv(left)
        libm.fesetenv(own)
    return result, left[WORD] & (ROUNDING[3] | FLUSH)


@pytest.mark.parametrize("settings", FOREIGN)
def test_foreign_settings_change_no_bit_and_stay(embedder, reference, settings):
    texts = reference[0][::5]
    expected = embedder.embed(texts).vectors
    assert under(settings, lambda: embedder.embed(texts).vectors) == (expected, settings)


@pytest.mark.parametrize("settings", FOREIGN)
def test_a_model_loaded_under_foreign_settings_is_the_same(model_files, embedder, reference, settings):
    texts = reference[0][::5]
    other, left = under(settings, lambda: load_embedder(model_files))
    assert left == settings
    assert other.embed(texts).vectors == embedder.embed(texts).vectors
