"""Interpolated Kneser-Ney over bytes (Kneser and Ney 1995; Chen and Goodman 1999, section 2.7): the bar to beat.

Counts of n-grams are kept as sorted integers, eight bits a byte. Written for this test alone; nothing of the product is used.
"""

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.int64]


def packed(data: bytes, n: int) -> Array:
    """All n-grams of a text as integers."""
    text = np.frombuffer(data, dtype=np.uint8).astype(np.int64)
    keys = np.zeros(len(text) - n + 1, dtype=np.int64)
    for position in range(n):
        keys = keys << 8 | text[position : len(text) - n + 1 + position]
    return keys


class Order:
    """Counts of one order: raw for the highest, numbers of different left neighbours for the others."""

    def __init__(self, keys: Array, counts: Array) -> None:
        """`keys` sorted and distinct. The discount is Ney's n1 / (n1 + 2 n2)."""
        self.keys, self.counts = keys, counts
        once, twice = int((counts == 1).sum()), int((counts == 2).sum())
        self.discount = once / (once + 2 * twice) if once else 0.5
        self.contexts, first = np.unique(keys >> 8, return_index=True)
        self.totals = np.add.reduceat(counts, first)
        self.followers = np.diff(np.append(first, len(keys)))

    def mix(self, queries: Array, lower: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probability of the last byte of each query after the others, given what the next lower order says."""
        count = looked_up(self.keys, self.counts, queries)
        total = looked_up(self.contexts, self.totals, queries >> 8)
        followers = looked_up(self.contexts, self.followers, queries >> 8)
        seen = np.maximum(total, 1)
        mixed = (np.maximum(count - self.discount, 0) + self.discount * followers * lower) / seen
        return np.where(total > 0, mixed, lower)


def looked_up(keys: Array, values: Array, queries: Array) -> Array:
    """Value of each query, 0 where it is not among the keys."""
    places = np.minimum(np.searchsorted(keys, queries), len(keys) - 1)
    return np.where(keys[places] == queries, values[places], 0)


def fit(data: bytes, order: int = 5) -> list[Order]:
    """Orders 1 to `order`."""
    keys, counts = np.unique(packed(data, order), return_counts=True)
    orders = [Order(keys, counts.astype(np.int64))]
    for n in range(order - 1, 0, -1):
        # Each distinct (n + 1)-gram is one left neighbour of its last n bytes.
        keys, counts = np.unique(keys & ((1 << 8 * n) - 1), return_counts=True)
        orders.insert(0, Order(keys, counts.astype(np.int64)))
    return orders


def bits_per_byte(orders: list[Order], data: bytes) -> float:
    """Mean over all bytes but the first few."""
    order = len(orders)
    queries = packed(data, order)
    probability = np.full(len(queries), 1 / 256)
    for n, level in enumerate(orders, start=1):
        probability = level.mix(queries & ((1 << 8 * n) - 1), probability)
    return float(-np.log2(probability).mean())


def distribution(orders: list[Order], context: bytes) -> float:
    """Sum of the probabilities of all bytes after a context: 1."""
    last = context[-(len(orders) - 1) :]
    return sum(math.exp2(-bits_per_byte(orders, last + bytes([byte]))) for byte in range(256))
