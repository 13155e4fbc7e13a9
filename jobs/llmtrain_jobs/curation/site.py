"""What a task needs on its worker, made once a process: the parsed config, the storage, models."""

import json
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

from llmtrain.api.curation import Curation
from llmtrain.api.stageconfig import StageConfig
from llmtrain.storage.store import Store
from llmtrain_jobs.curation.prepare import Preparer
from llmtrain_jobs.entrypoint.driver import store_of


@dataclass(frozen=True)
class Site:
    """One worker's view of the job."""

    config: StageConfig

    @cached_property
    def store(self) -> Store:
        """The job's storage."""
        return store_of(self.config)

    @property
    def curation(self) -> Curation:
        """The step's spec."""
        return self.config.spec.curation

    @cached_property
    def preparer(self) -> Preparer:
        """Models."""
        return Preparer(self.store, self.curation)


def site_of(config: dict[str, Any]) -> Site:
    """The same object for the same config."""
    return _site(json.dumps(config, sort_keys=True))


@cache
def _site(config: str) -> Site:
    return Site(StageConfig.model_validate_json(config))
