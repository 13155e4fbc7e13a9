"""What a ladder has foretold of a job, beside what the job came to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from llmtrain.api.job import JobSpec
from llmtrain.api.plan import PlanSpec
from llmtrain.cost.errors import InputError
from llmtrain.cost.ranges import Range
from llmtrain.ladder.plan import target_of
from llmtrain.ladder.progress import Object, extrapolation, observations, on_held_out_text, steps_of
from llmtrain.pricing.parsed import validated
from llmtrain.pricing.work import job_model
from llmtrain.scaling.fit import FEWEST_RUNS, fit


@dataclass(frozen=True)
class Foretold:
    """By how many runs; loss in nats a token, US dollars of the whole job, None where its plans are not known."""

    runs: int
    loss: Range
    usd: Range | None
    held_out: bool = True
    """Whether the loss is that on held-out text; else that of a batch."""


def foretold(job: Object, rungs: Sequence[Object], plans: Mapping[str, PlanSpec]) -> Foretold | None:
    """None where fewer than three rungs tell a loss, or where the job is none that a ladder can lead to."""
    steps = steps_of(rungs)
    seen = observations(steps)
    if len(seen) < FEWEST_RUNS:
        return None
    name = job["metadata"]["name"]
    spec = validated(JobSpec, job["spec"], f"LLMTrainingJob `{name}`, spec")
    try:
        found = extrapolation(target_of(name, spec, plans), steps)
    except InputError:  # a plan that is gone, or cannot be priced any more
        found = None
    loss = fit(seen).loss(job_model(spec).parameters, spec.training.tokens)
    return Foretold(len(seen), loss, found.usd if found else None, on_held_out_text(steps))
