"""Random bits as a pure function of (seed, stream, position): no state, so any part of a mask can
be made anywhere, in any order, on any device, and made again for the backward pass.

The idea of a counter-based generator is Salmon et al., "Parallel random numbers: as easy as 1, 2,
3", SC 2011. A dropout mask needs less than their Philox gives; the mixer here is a two-round hash
of 32-bit integers, two multiplications with shifts and xors between, with the multipliers that
C. Wellons found by searching for the least avalanche bias ("Prospecting for hash functions", 2018).
In C, all of it on uint32_t:

    x = low ^ key0;                      // low, high: the halves of the 64-bit position
    x ^= x >> 16;  x *= 0x7feb352d;
    x ^= key1 + high * 0x9e3779b9;       // a second key, so that streams are not shifted copies
    x ^= x >> 15;  x *= 0x846ca68b;
    x ^= x >> 16;

An element is dropped if its bits are below p * 2^32: integers, the same comparison everywhere.
"""

from functools import lru_cache
from typing import Any

import numpy as np

Array = Any
Key = tuple[int, int]

M1, M2, GOLDEN = 0x7FEB352D, 0x846CA68B, 0x9E3779B9
MASK = 0xFFFFFFFF


def _mix(x: int) -> int:
    """The same mixer on a Python integer below 2^32."""
    x = ((x ^ (x >> 16)) * M1) & MASK
    x = ((x ^ (x >> 15)) * M2) & MASK
    return x ^ (x >> 16)


def _absorb(state: int, number: int, words: int) -> int:
    """Mix `words` 32-bit words of a number into a 32-bit state, the lowest first."""
    for i in range(words):
        state = (_mix(state ^ ((number >> 32 * i) & MASK)) + GOLDEN) & MASK
    return state


@lru_cache(maxsize=8)
def _seed_state(seed: int) -> Key:
    return _absorb(GOLDEN, seed, 4), _absorb(0xBB67AE85, seed, 4)


def stream_key(seed: int, stream: int) -> Key:
    """Two 32-bit numbers made of a seed below 2^128 and a stream number below 2^64."""
    first, second = _seed_state(seed)
    return _absorb(first, stream, 2), _absorb(second, stream, 2)


def random_bits(position: Array, key: Key) -> Array:
    """position: integers >= 0, any shape -> uint32 of the same shape."""
    x = position.astype(np.uint32)  # the low half; a copy, worked on in place
    second: Any = np.uint32(key[1])
    if position.dtype.itemsize > 4:
        high = (position >> 32).astype(np.uint32)
        high *= np.uint32(GOLDEN)
        high += second
        second = high
    x ^= np.uint32(key[0])
    x ^= x >> 16
    x *= np.uint32(M1)
    x ^= second
    x ^= x >> 15
    x *= np.uint32(M2)
    x ^= x >> 16
    return x


def threshold(p: float) -> int:
    """Elements whose bits are below this are dropped. p: in [0, 1)."""
    return min(round(p * 2**32), MASK)


def positions(start: int, stop: int) -> Array:
    """start..stop-1, as uint32 where they fit: half the work."""
    return np.arange(start, stop, dtype=np.uint32 if stop <= MASK else np.int64)
