"""Keys and values of what a model has seen, so that a prefix is computed once and a generated token costs one step."""

from dataclasses import dataclass

from torch import Tensor

from llmtrain_jobs.model.config import ModelConfig


@dataclass
class Cache:
    """Rows of one batch. All hold `length` positions; row b starts with `padding[b]` that nobody may see (None: none).

    `keys` and `values` have one tensor a layer, (B, G, S, K) with room for S positions; `padding` is (B,).
    """

    keys: list[Tensor]
    values: list[Tensor]
    padding: Tensor | None
    length: int = 0

    @classmethod
    def empty(cls, config: ModelConfig, batch: int, room: int, like: Tensor, padding: Tensor | None = None) -> "Cache":
        """Room for `room` positions of `batch` rows, of the device and type of `like`.

        Prompts of different lengths go in padded on the left; `padding` says by how much each row is.
        """
        shape = (batch, config.groups, room, config.width)
        padding = None if padding is None else padding.to(like.device)
        keys, values = ([like.new_zeros(shape) for _ in range(config.layers)] for _ in range(2))
        return cls(keys, values, padding)

    @property
    def room(self) -> int:
        """S, positions that fit."""
        return self.keys[0].shape[2]

    def extend(self, layer: int, key_BGTK: Tensor, value_BGTK: Tensor) -> tuple[Tensor, Tensor]:
        """Store T new positions of a layer behind `length`; all stored ones: (B, G, length + T, K)."""
        end = self.length + key_BGTK.shape[2]
        if end > self.room:
            raise ValueError(f"the cache has room for {self.room} positions, {end} are needed")
        self.keys[layer][:, :, self.length : end] = key_BGTK
        self.values[layer][:, :, self.length : end] = value_BGTK
        return self.keys[layer][:, :, :end], self.values[layer][:, :, :end]

    def select(self, rows_N: Tensor) -> "Cache":
        """A copy with these rows, repeated as often as they are named: one prefix for many continuations."""
        keys, values = ([part.index_select(0, rows_N) for part in parts] for parts in (self.keys, self.values))
        padding = None if self.padding is None else self.padding.index_select(0, rows_N)
        return Cache(keys, values, padding, self.length)

    def truncate(self, length: int) -> None:
        """Forget all positions from `length` on."""
        if length > self.length:
            raise ValueError(f"the cache holds {self.length} positions, not {length}")
        self.length = length
