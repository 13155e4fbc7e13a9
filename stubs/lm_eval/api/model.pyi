"""What this product overrides and calls of lm-evaluation-harness' models, which come without types."""

import abc
from collections.abc import Sequence
from typing import Any

class LM(abc.ABC):
    @abc.abstractmethod
    def loglikelihood(self, requests: Sequence[Any], disable_tqdm: bool = ...) -> list[tuple[float, bool]]: ...
    @abc.abstractmethod
    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = ...) -> list[float]: ...
    @abc.abstractmethod
    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = ...) -> list[str]: ...

class TemplateLM(LM):
    @property
    @abc.abstractmethod
    def eot_token_id(self) -> int: ...
    @abc.abstractmethod
    def tok_encode(self, string: str, add_special_tokens: bool | None = ..., **kwargs: Any) -> list[int]: ...
    @abc.abstractmethod
    def _loglikelihood_tokens(
        self, requests: list[tuple[Any, list[int], list[int]]], disable_tqdm: bool = ..., **kwargs: Any
    ) -> list[tuple[float, bool]]: ...
    def loglikelihood(self, requests: Sequence[Any], disable_tqdm: bool = ...) -> list[tuple[float, bool]]: ...
