"""The bill at completion while the job runs, and the probability that it would break the budget."""

from llmtrain.api.outlook import JobForecast
from llmtrain.api.status import Progress, StageState, StageStatus
from llmtrain.cost.errors import InputError
from llmtrain.cost.estimate import Estimate
from llmtrain.cost.forecast import Forecast, Measurement, Running, forecast
from llmtrain.cost.money import MICRO, format_usd
from llmtrain.cost.ranges import Range
from llmtrain_operator.billing import parse_time
from llmtrain_operator.blueprints import is_elastic, least_workers
from llmtrain_operator.budget import cluster_prices, evaluator_prices, limits
from llmtrain_operator.estimates import job_estimate, quantiles, share_left
from llmtrain_operator.pricing import Price
from llmtrain_operator.turn import Turn

OVER = (StageState.SUCCEEDED, StageState.FAILED)


def update_forecast(turn: Turn) -> None:
    """The forecast of a job with an estimate that is not over; the last one stands once it is, less a limit that is there no more."""
    if turn.stage is None or turn.stage.state is StageState.FAILED or turn.seen.job.deleted:
        if turn.status.forecast is not None and turn.status.forecast.budget_usd and not limits(turn):
            turn.status.forecast = turn.status.forecast.model_copy(update={"budget_usd": "", "breach_probability": ""})
        return
    found = job_estimate(turn)
    turn.status.forecast = _budget_alone(turn) if isinstance(found, InputError) else forecast_status(turn, found)


def _budget_alone(turn: Turn) -> JobForecast | None:
    """Without an estimate there is still a limit to tell of."""
    tightest = _tightest(turn)
    return None if tightest is None else JobForecast(budget_usd=format_usd(tightest))


def _tightest(turn: Turn) -> int | None:
    return min((limit.attainable for limit in limits(turn)), default=None)


def forecast_status(turn: Turn, estimate: Estimate) -> JobForecast:
    """What the bill will be, narrowed by the measured speed of the running stage."""
    running = next((s for s in turn.status.stages if s.state is StageState.RUNNING), None)
    later = [s for s in turn.status.stages if s.state not in OVER and s is not running]
    spent = turn.status.ledger.total_micro_usd / MICRO
    found = forecast(
        spent,
        _running(turn, estimate, running) if running else None,
        [_left(estimate, s, "usd") for s in later],
        [_left(estimate, s, "hours") for s in later],
    )
    return _told(turn, found)


def _told(turn: Turn, found: Forecast) -> JobForecast:
    tightest = _tightest(turn)
    shown = JobForecast(
        usd=quantiles(found.usd, 2), remaining_hours=quantiles(found.remaining_hours, 3), eta=duration(found)
    )
    if tightest is None:
        return shown
    probability = found.breach_probability(tightest / MICRO)
    return shown.model_copy(update={"budget_usd": format_usd(tightest), "breach_probability": f"{probability:.3f}"})


def duration(found: Forecast) -> str:
    """Median time left, as "2d3h", "1h20m" or "5m"."""
    minutes = round(found.remaining_hours.p50 * 60)
    days, hours, rest = minutes // 1440, minutes % 1440 // 60, minutes % 60
    return f"{days}d{hours}h" if days else f"{hours}h{rest}m" if hours else f"{rest}m"


def _left(estimate: Estimate, stage: StageStatus, quantity: str) -> Range:
    found = estimate.stage(stage.name.value)
    value: Range = getattr(found, quantity) if found else Range(0, 0, 0)
    return value.scaled(share_left(stage))


def _running(turn: Turn, estimate: Estimate, stage: StageStatus) -> Running | None:
    found = estimate.stage(stage.name.value)
    if found is None:
        return None
    begun = parse_time(stage.phases.placed_time) or turn.now
    elapsed = max(0.0, (turn.now - begun).total_seconds())
    progress = stage.progress or Progress()
    return Running(
        estimate_hours=found.hours,
        done=float(progress.done),
        total=float(progress.total),
        elapsed_hours=elapsed / 3600,
        usd_per_hour=sum(price.microUsdPerHour for price in _prices(turn, stage)) / MICRO,
        measured=_measured(progress, elapsed),
    )


def _prices(turn: Turn, stage: StageStatus) -> list[Price]:
    """Of the pods that are paid for: an elastic stage's workers are those that were placed."""
    crew = cluster_prices(turn, stage)
    if is_elastic(turn.spec, stage.name):
        placed = sum(bool(pod.node) and not pod.over for pod in turn.crew_of(stage) if not pod.is_head)
        crew = crew[: 1 + max(placed, least_workers(turn.spec, stage.name))]
    return crew + evaluator_prices(turn, stage, len(stage.evaluators))


def _measured(progress: Progress, elapsed: float) -> Measurement | None:
    """Tokens per second, and for how long that was seen."""
    try:
        speed = float(progress.tokens_per_second or 0)
    except ValueError:
        return None
    seconds = float(progress.working_seconds or elapsed)
    return Measurement(speed, seconds) if speed > 0 and seconds > 0 else None
