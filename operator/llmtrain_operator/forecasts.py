"""The bill at completion while the job runs, and the probability that it would break the budget."""

import math
from collections import Counter
from collections.abc import Iterable
from datetime import date
from functools import lru_cache, partial

from llmtrain.api.outlook import JobForecast, Quantiles
from llmtrain.api.status import JobStatus, Stage, StageState, StageStatus
from llmtrain.cost.errors import InputError
from llmtrain.cost.estimate import Estimate
from llmtrain.cost.forecast import Forecast, Running, forecast, remaining_hours
from llmtrain.cost.money import MICRO, amount_micro_usd, billed_seconds, format_usd
from llmtrain.cost.ranges import ZERO, Range, exactly
from llmtrain.ledger.now import cost_now_micro_usd
from llmtrain_operator.blueprints import evaluator_count, is_elastic, least_workers
from llmtrain_operator.budget import cluster_prices, evaluator_prices, limits
from llmtrain_operator.estimates import job_estimate, quantiles
from llmtrain_operator.history import held_seconds
from llmtrain_operator.measuring import measured, share_done, share_left, worked_seconds
from llmtrain_operator.names import EVALUATOR, HEAD, WORKER
from llmtrain_operator.pricing import Price
from llmtrain_operator.turn import Inputs, Turn

CALM = 1.45
"""The median moves by no more between two looks between which nothing has happened; p10 and p90 go at once where they should be."""
LOOK_SECONDS, MOST_LOOKS = 60, 100
"""A job at rest is looked at once a minute. After a longer gap the median may be where so many looks would have taken it."""
CENTS_FROM_USD = 10
"""Below that, cents would hide how the forecast moves, and what the bill is."""
Billed = tuple[int, int, int, int]
"""Of a pod: microdollars an hour, increment, minimum, and seconds that are billed so far."""
OVER = (StageState.SUCCEEDED, StageState.FAILED)


def update_forecast(turn: Turn) -> None:
    """The forecast of a job with an estimate; of one that is over its bill, for nothing more comes."""
    if _is_over(turn):
        turn.status.forecast = _bill(turn)
        return
    found = job_estimate(turn)
    turn.status.forecast = _budget_alone(turn) if isinstance(found, InputError) else forecast_status(turn, found)


def _is_over(turn: Turn) -> bool:
    """No stage will do any more work."""
    stage = turn.stage
    if stage is None or turn.seen.job.deleted or stage.state is StageState.FAILED:
        return True
    return stage.outcome is not None and stage.outcome.state is StageState.FAILED


def _bill(turn: Turn) -> JobForecast:
    """Cost now, without a range and without time left."""
    micro = cost_now_micro_usd(turn.status.ledger)
    usd, tightest = format_usd(micro), _tightest(turn)
    shown = JobForecast(usd=Quantiles(p10=usd, p50=usd, p90=usd))
    if tightest is None:
        return shown
    broken = float(micro > tightest)
    return shown.model_copy(update={"budget_usd": format_usd(tightest), "breach_probability": f"{broken:.3f}"})


def _budget_alone(turn: Turn) -> JobForecast | None:
    """Without an estimate there is still a limit to tell of."""
    tightest = _tightest(turn)
    return None if tightest is None else JobForecast(budget_usd=format_usd(tightest))


def _tightest(turn: Turn) -> int | None:
    return min((limit.attainable for limit in limits(turn)), default=None)


def forecast_status(turn: Turn, estimate: Estimate) -> JobForecast:
    """What the bill will be, narrowed by the measured speed of the running stage."""
    running = next((s for s in turn.status.stages if s.state is StageState.RUNNING), None)
    later = [s for s in turn.status.stages if s is not running and not _is_done(s)]
    left = [_left(turn, estimate, s) for s in later]
    found = forecast(
        cost_now_micro_usd(turn.status.ledger) / MICRO,
        _running(turn, estimate, running) if running else None,
        [usd for _, usd in left],
        [hours for hours, _ in left],
    )
    return _told(turn, found).model_copy(update={"storage_usd": _storage_usd(turn, estimate)})


def _storage_usd(turn: Turn, estimate: Estimate) -> Quantiles | None:
    """Storage and egress of the training, for as long as it takes; None where its plan has no price for them."""
    found = next((stage for stage in estimate.stages if stage.storage is not None), None)
    stage = next((stage for stage in turn.status.stages if found and stage.name.value == found.name), None)
    if found is None or found.storage is None or stage is None:
        return None
    hours, so_far = found.hours, held_seconds(stage, turn.now) / 3600
    if stage.state in OVER:
        hours = exactly(stage.run_seconds / 3600)
    elif stage.state is StageState.RUNNING:
        left = forecast(0.0, _running(turn, estimate, stage), [], []).remaining_hours
        hours = left.map(lambda value: so_far + value)
    return quantiles(found.storage.usd(hours), 2)


def _is_done(stage: StageStatus) -> bool:
    """Its work is: its pods may have yet to go."""
    return stage.state in OVER or (stage.outcome is not None and stage.outcome.state in OVER)


def _told(turn: Turn, found: Forecast) -> JobForecast:
    tightest, usd = _tightest(turn), _calm(turn, found.usd)
    places = 2 if usd.p90 >= CENTS_FROM_USD else 4
    shown = JobForecast(
        usd=quantiles(usd, places), remaining_hours=quantiles(found.remaining_hours, 3), eta=duration(found)
    )
    if tightest is None:
        return shown
    probability = found.breach_probability(tightest / MICRO)
    return shown.model_copy(update={"budget_usd": format_usd(tightest), "breach_probability": f"{probability:.3f}"})


def _calm(turn: Turn, found: Range) -> Range:
    """The median not further than CALM from that of the look before, within a range that has both it and what was found."""
    stored = turn.seen.job.status
    last = float(stored.forecast.usd.p50 or 0) if stored.forecast else 0.0
    if last <= 0 or happened(stored, turn.status):
        return found
    bound = CALM ** min(MOST_LOOKS, max(1.0, _seconds_between(stored, turn.status) / LOOK_SECONDS))
    p50 = min(max(found.p50, last / bound), last * bound)
    return Range(min(found.p10, p50), p50, max(found.p90, p50))


def _seconds_between(before: JobStatus, after: JobStatus) -> int:
    """Seconds between two looks, as the pods that both saw alive tell; 0 where there are none."""
    known = {mark.uid: mark.alive_seconds for mark in before.ledger.high_water}
    both = [mark for mark in after.ledger.high_water if mark.uid in known]
    return max((mark.alive_seconds - known[mark.uid] for mark in both), default=0)


def happened(before: JobStatus, after: JobStatus) -> bool:
    """Whether a stop, loss, retry, stage or manifest change lies between two statuses."""
    return before.observed_generation != after.observed_generation or _standing(before) != _standing(after)


def _standing(status: JobStatus) -> list[tuple[object, ...]]:
    """Of each stage its attempt, whether it ends, its pods' incarnations and who trains together."""
    return [
        (
            stage.name,
            stage.state,
            stage.attempt,
            stage.outcome is not None,
            [(slot.index, slot.incarnation) for slot in (*stage.workers, *stage.evaluators)],
            stage.pace.group if stage.pace else "",
        )
        for stage in status.stages
    ]


def duration(found: Forecast) -> str:
    """Median time left, as "2d3h", "1h20m" or "5m"."""
    minutes = round(found.remaining_hours.p50 * 60)
    days, hours, rest = minutes // 1440, minutes % 1440 // 60, minutes % 60
    return f"{days}d{hours}h" if days else f"{hours}h{rest}m" if hours else f"{rest}m"


def _left(turn: Turn, estimate: Estimate, stage: StageStatus) -> tuple[Range, Range]:
    """Hours and US dollars of a stage that has no cluster. Of one that has never had any, the estimate's inputs alone decide."""
    begun = bool(stage.attempt or stage.share or stage.prices or stage.progress)
    known = {} if begun else _unbegun(turn.inputs, turn.now.date())
    if stage.name not in known:
        hours = _left_hours(turn, estimate, stage)
        known[stage.name] = hours, _left_usd(turn, estimate, stage, hours)
    return known[stage.name]


@lru_cache(maxsize=2048)
def _unbegun(_inputs: Inputs, _today: date) -> dict[Stage, tuple[Range, Range]]:
    """Of stages that have not begun, by stage, as they are asked for: every turn asks, and always gets the same."""
    return {}


def _left_hours(turn: Turn, estimate: Estimate, stage: StageStatus) -> Range:
    """Of a stage that waits for its next attempt by the speed of those before, where it goes on from them."""
    found = estimate.stage(stage.name.value)
    if found is None:
        return ZERO
    seen = measured(stage, turn.now)
    if seen is None:
        return found.hours.scaled(share_left(stage))
    return remaining_hours(Running(found.hours, share_done(stage) or 0.0, 1.0, 0.0, 0.0, seen))


def _left_usd(turn: Turn, estimate: Estimate, stage: StageStatus, hours: Range) -> Range:
    """Of a stage that has no cluster: at least what its next one is billed for so many hours, by its plans' minimums; no more where its
    speed is known.
    """
    found = estimate.stage(stage.name.value)
    if found is None:
        return ZERO
    prices = cluster_prices(turn, stage) + evaluator_prices(turn, stage, evaluator_count(turn.spec, stage.name))
    least = hours.map(partial(_usd, _alike(prices)))
    if prices and measured(stage, turn.now) is not None:
        return least
    usd = found.usd.scaled(share_left(stage))
    return Range(max(usd.p10, least.p10), max(usd.p50, least.p50), max(usd.p90, least.p90))


def _alike(prices: Iterable[Price]) -> Counter[Billed]:
    """How many pods of each kind: hundreds of workers are worked out as one."""
    return Counter((price.microUsdPerHour, price.incrementSeconds, price.minimumSeconds, 0) for price in prices)


def _usd(pods: Counter[Billed], hours: float) -> float:
    """US dollars that they owe beyond what they owe now, if they are billed for so much longer."""
    more = math.ceil(hours * 3600)
    return sum(count * (_owed(kind, more) - _owed(kind, 0)) for kind, count in pods.items()) / MICRO


def _owed(kind: Billed, more: int) -> int:
    hour, increment, minimum, seconds = kind
    return amount_micro_usd(billed_seconds(seconds + more, increment, minimum), hour)


def _running(turn: Turn, estimate: Estimate, stage: StageStatus) -> Running | None:
    found = estimate.stage(stage.name.value)
    if found is None:
        return None
    done = share_done(stage)
    return Running(
        estimate_hours=found.hours,
        done=done or 0.0,
        total=0.0 if done is None else 1.0,
        elapsed_hours=worked_seconds(stage, turn.now) / 3600,
        usd_per_hour=0.0,
        measured=measured(stage, turn.now),
        bill=partial(_usd, _alive(turn, stage) + _alike(_missing(turn, stage))),
        start_hours=found.start_hours,
    )


def _alive(turn: Turn, stage: StageStatus) -> Counter[Billed]:
    """Pods that are placed and have not ended, with their seconds so far."""
    found: Counter[Billed] = Counter()
    for pod in turn.pods_of(stage):
        span = pod.span(turn.seen.nodes, turn.now)
        if span.start is not None and not span.final:
            price = pod.price
            found[price.microUsdPerHour, price.incrementSeconds, price.minimumSeconds, span.seconds] += 1
    return found


def _missing(turn: Turn, stage: StageStatus) -> list[Price]:
    """Prices of pods that are not placed yet and that the stage needs: of an elastic one, workers without which it does not run."""
    placed = Counter(pod.role for pod in turn.pods_of(stage) if pod.node and not pod.over)
    crew, beside = cluster_prices(turn, stage), evaluator_prices(turn, stage, len(stage.evaluators))
    if not crew:
        return beside[placed[EVALUATOR] :]
    workers = crew[1:][: len(stage.workers)]
    if is_elastic(turn.spec, stage.name):
        workers = workers[: least_workers(turn.spec, stage.name)]
    return crew[placed[HEAD] : 1] + workers[placed[WORKER] :] + beside[placed[EVALUATOR] :]
