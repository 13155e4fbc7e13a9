"""What may change in a job that exists; `tests/api` asks the apiserver itself."""

from llmtrain.api.job import JobSpec
from llmtrain.api.transitions import FROZEN_WHEN_STARTED, STAGES


def test_every_part_of_the_spec_has_a_rule_or_is_meant_to_be_mutable() -> None:
    """A new field of the spec is frozen, or named here."""
    mutable = {"suspend", "image", "budget", "compare_plans", "retry", "start_deadline_seconds", "run_deadline_seconds",
               "stall_deadline_seconds", "max_pod_lifetime_seconds", "ttl_seconds_after_finished", "on_delete",
               "preflight", "pod"}  # fmt: skip
    assert set(JobSpec.model_fields) - set(FROZEN_WHEN_STARTED) - set(STAGES) - mutable == set()
