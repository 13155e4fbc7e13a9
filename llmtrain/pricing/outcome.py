"""The loss that a manifest's training is expected to come to, and what the same money buys on each plan."""

from collections.abc import Mapping

from llmtrain.api.job import JobSpec
from llmtrain.cost.comparison import Comparison
from llmtrain.pricing.work import job_model
from llmtrain.scaling.outcome import Expectation, Outcome, Split, Text, outcome, split


def job_outcome(spec: JobSpec, expected: Expectation, text: Text) -> Outcome | None:
    """None where training goes on from another model: no law says what that one knows."""
    if spec.training.continue_from is not None:
        return None
    return outcome(expected, job_model(spec).parameters, float(spec.training.tokens), text)


def same_money(comparison: Comparison, expected: Expectation, found: Outcome) -> Mapping[str, Split]:
    """By plan: the best split of the FLOPs that the first plan's dollars, which are the job's own, buy there."""
    results = comparison.results
    if not results or results[0].usd_per_1e21_flops <= 0:
        return {}
    own = results[0].usd_per_1e21_flops
    flops = {each.plan.name: found.flops * own / each.usd_per_1e21_flops for each in results if each.usd_per_1e21_flops}
    return {plan: split(expected, *expected.law.best_split(amount), found.text) for plan, amount in flops.items()}
