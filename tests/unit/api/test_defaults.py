"""What a manifest leaves out: its default is one object, shared by all of them, for nobody can change it."""

import copy

import pytest
from pydantic import ValidationError

from llmtrain.api.job import JobSpec
from tests.unit.operator.scenario import job_spec


def test_manifests_share_their_defaults() -> None:
    one, other = (JobSpec.model_validate(job_spec()) for _ in range(2))
    assert one.retry is other.retry
    assert copy.deepcopy(one) is one
    with pytest.raises(ValidationError):
        one.retry.__setattr__("limit", 3)


def test_what_is_written_is_each_manifest_s_own() -> None:
    one, other = (JobSpec.model_validate(job_spec() | {"retry": {"limit": limit}}) for limit in (1, 2))
    assert (one.retry.limit, other.retry.limit) == (1, 2)
