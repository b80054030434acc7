"""Data that every worker can make for itself: SplitMix64 numbers, the same in Python and in Rust."""

import numpy as np

BATCHES = 32  # batches are made once and used in turn


def words(seed, count):
    """`count` 64-bit words of SplitMix64 (Steele, Lea & Flood, 2014), started at `seed`."""
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def uniform(seed, *shape):
    """Uniform on [0, 1) with 24 bits, f32."""
    count = int(np.prod(shape))
    return ((words(seed, count) >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)).reshape(shape)


def integers(seed, bound, *shape):
    """Integers in [0, bound)."""
    count = int(np.prod(shape))
    return ((words(seed, count) >> np.uint64(33)) % np.uint64(bound)).astype(np.int64).reshape(shape)


def walk(seed, vocabulary, rows, length):
    """Token sequences `[rows, length]` whose next token is the last one plus 1, 2, 3 or 4: ln 4 nats each."""
    steps = integers(seed, 4, rows, length) + 1
    return (np.cumsum(steps, axis=1) + integers(seed + 1, vocabulary, rows, 1)) % vocabulary


def rectangles(seed, count, size):
    """Images `[count, 1, size, size]` of one bright rectangle each on -1, with a little noise."""
    draws = integers(seed, 256, count, 5)
    half = size // 2
    rows, columns = np.arange(size)[None, :, None], np.arange(size)[None, None, :]
    top, left, height, width = (draws[:, i, None, None] % half for i in range(4))
    bright = draws[:, 4, None, None].astype(np.float32) / np.float32(256.0)
    inside = (rows >= top) & (rows <= top + height + 3) & (columns >= left) & (columns <= left + width + 3)
    noise = np.float32(0.1) * uniform(seed + 1, count, size, size)
    return (np.where(inside, bright, np.float32(-1.0)) + noise).astype(np.float32)[:, None]
