"""The law of one's own runs, and how far it may be off elsewhere.

The five constants from few runs: Hoffmann et al. 2022 minimise Huber's loss of ln loss; so does this, with what is known of
such laws as a prior, since a ladder of six jobs does not tell five numbers apart by itself. Of the prior only the exponents
matter: published ones lie between 0.28 and 0.37 for text. The other three are centred on the runs themselves, and wide.

p10 to p90 of a run that was not made: the curvature at the minimum (Laplace), the scatter of a run on top, by Student's t
for as many degrees of freedom as the runs leave.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

from llmtrain.cost.errors import InputError
from llmtrain.cost.ranges import Range
from llmtrain.scaling.law import ScalingLaw, are_exponents
from llmtrain.scaling.linear import Matrix, form, inverse, times

FEWEST_RUNS = 3
BOUNDS = {"parameters": (1.0, 1e18), "tokens": (1.0, 1e18), "loss": (1e-6, 100.0)}
"""Of a run; a model that knows nothing of a million tokens has 13.8 nats a token."""
EXPONENT, EXPONENT_SIGMA = 0.33, 0.06
"""alpha and beta: 0.34 and 0.28 [2203.15556], 0.348 and 0.366 [2404.10102], 0.353 and 0.353 [2305.16264], 0.31 and 0.314
(Llama 3, as re-fitted in [2603.22339]), 0.252 and 0.213 (OLMo Hybrid, 2026, figure 8): mean 0.313, standard deviation 0.05.
"""
FLOOR_SHARE, FLOOR_SIGMA = 0.5, 0.5
"""E as a share of the lowest loss that was seen, and the standard deviation of its logarithm."""
PART_SHARE, PART_SIGMA = 0.25, 1.0
"""A / N^alpha and B / D^beta at the middle of the runs, likewise."""
RUN_SIGMA, RUN_WEIGHT = 0.003, 0.3
"""Scatter of ln loss between seeds before any is seen, and how many runs' worth of evidence that is. Porian et al. 2024
[2406.19146] take 0.005 nats at a loss of 3, 0.017 at 4: 0.2 and 0.4 %.
"""
LEAST_FREEDOM = 3.0
"""Where the runs leave less, as three do, more is believed of that scatter."""
HUBER, HUBER_SQUARES = 1.5, 0.867
"""Misses beyond so many standard deviations pull the fit by their sign alone; of normal ones so much of the squares is left."""
ROUNDS, STEPS = 8, 60
ENOUGH, SETTLED = 1e-4, 1e-2


Prior = Sequence[tuple[float, float]]
"""Mean and standard deviation of each of theta."""


@dataclass(frozen=True)
class Observation:
    """A run that has ended: its size, its tokens, the loss that it came to, nats a token."""

    parameters: float
    tokens: float
    loss: float


@dataclass(frozen=True)
class Middle:
    """Where the runs lie: the law is written around it, so that its constants can be told apart."""

    log_parameters: float
    log_tokens: float


@dataclass(frozen=True)
class Fitted:
    """A law with its doubt. `theta` is ln E, ln A/N^alpha and ln B/D^beta at the middle, alpha, beta."""

    theta: Sequence[float]
    covariance: Matrix
    middle: Middle
    sigma: float
    """Scatter of ln loss of one run."""
    freedom: float
    runs: Sequence[Observation]

    @property
    def law(self) -> ScalingLaw:
        """The constants as they are usually written."""
        log_e, log_a, log_b, alpha, beta = self.theta
        a = math.exp(log_a + alpha * self.middle.log_parameters)
        b = math.exp(log_b + beta * self.middle.log_tokens)
        return ScalingLaw(math.exp(log_e), a, b, alpha, beta, f"fitted to {len(self.runs)} runs")

    def spread(self, parameters: float, tokens: float) -> float:
        """Standard deviation of ln loss of a run of this size, its own scatter included."""
        _, slope = _predicted(self.theta, self.middle, parameters, tokens)
        return math.sqrt(form(self.covariance, slope) + self.sigma**2)

    def loss(self, parameters: float, tokens: float) -> Range:
        """p10, p50 and p90 of the loss that such a run comes to."""
        value, _ = _predicted(self.theta, self.middle, parameters, tokens)
        half = student(0.9, self.freedom) * self.spread(parameters, tokens)
        return Range(math.exp(value - half), math.exp(value), math.exp(value + half))


def fit(runs: Sequence[Observation]) -> Fitted:
    """The law of these runs. InputError where they are too few, no numbers of runs, or far from any such law."""
    _check(runs)
    middle = Middle(_mean(math.log(run.parameters) for run in runs), _mean(math.log(run.tokens) for run in runs))
    task = _Task(runs, middle, _prior(min(run.loss for run in runs)), RUN_SIGMA, [1.0] * len(runs))
    theta: Sequence[float] = [mean for mean, _ in task.prior]
    for _ in range(ROUNDS):
        theta, curvature = _minimum(task, theta)
        covariance = inverse(curvature)
        sigma, freedom = _scatter(task, theta, covariance)
        if abs(sigma / task.sigma - 1) < SETTLED:
            break
        task = replace(task, sigma=sigma, weights=task.huber(theta, sigma))
    *_, alpha, beta = theta
    found = Fitted(theta, covariance, middle, sigma, freedom, tuple(runs))
    if not (are_exponents(alpha, beta) and found.law.splits):
        raise InputError("runs", f"follow no scaling law: alpha would be {alpha:.3g}, beta {beta:.3g}")
    return found


def _scatter(task: "_Task", theta: Sequence[float], covariance: Matrix) -> tuple[float, float]:
    """Standard deviation of a run's ln loss, by the runs and by what is known before; and its degrees of freedom."""
    misses = task.misses(theta)
    slopes = [_predicted(theta, task.middle, run.parameters, run.tokens)[1] for run in task.runs]
    used = sum(w * form(covariance, slope) / task.sigma**2 for w, slope in zip(task.weights, slopes, strict=True))
    left = len(misses) - used
    known = max(RUN_WEIGHT, LEAST_FREEDOM - left)
    squares = sum(w * miss**2 for w, miss in zip(task.weights, misses, strict=True)) / HUBER_SQUARES
    return math.sqrt((known * RUN_SIGMA**2 + squares) / (known + left)), known + left


def student(share: float, freedom: float) -> float:
    """Quantile of Student's t [Hill 1970, as expanded by Fisher and Cornish]; good to 1 % from 2 degrees of freedom on."""
    z = NormalDist().inv_cdf(share)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / freedom ** (power + 1) for power, term in enumerate(terms))


def _check(runs: Sequence[Observation]) -> None:
    if len(runs) < FEWEST_RUNS:
        raise InputError("runs", f"there must be at least {FEWEST_RUNS} that have ended, not {len(runs)}")
    for index, run in enumerate(runs):
        for name, value in vars(run).items():
            least, most = BOUNDS[name]
            if not least <= value <= most:
                raise InputError(f"runs[{index}].{name}", f"must be a number from {least:g} to {most:g}, not {value:g}")
    if len({(run.parameters, run.tokens) for run in runs}) == 1:
        raise InputError("runs", f"must differ in `parameters` or `tokens`: all {len(runs)} have the same of both")


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found)


def _prior(lowest: float) -> Prior:
    part = (math.log(PART_SHARE * lowest), PART_SIGMA)
    exponent = (EXPONENT, EXPONENT_SIGMA)
    return ((math.log(FLOOR_SHARE * lowest), FLOOR_SIGMA), part, part, exponent, exponent)


def _predicted(
    theta: Sequence[float], middle: Middle, parameters: float, tokens: float
) -> tuple[float, Sequence[float]]:
    """ln loss, and its slope by each of theta."""
    log_e, log_a, log_b, alpha, beta = theta
    right, up = math.log(parameters) - middle.log_parameters, math.log(tokens) - middle.log_tokens
    parts = (log_e, log_a - alpha * right, log_b - beta * up)
    largest = max(parts)
    loss = largest + math.log(sum(math.exp(part - largest) for part in parts))
    floor, size, data = (math.exp(part - loss) for part in parts)
    return loss, (floor, size, data, -size * right, -data * up)


@dataclass(frozen=True)
class _Task:
    """What is minimised: half the squared misses in standard deviations, of the runs and of the prior."""

    runs: Sequence[Observation]
    middle: Middle
    prior: Prior
    sigma: float
    weights: Sequence[float]

    def value(self, theta: Sequence[float]) -> float:
        """At these constants."""
        total = sum(((each - mean) / sigma) ** 2 for each, (mean, sigma) in zip(theta, self.prior, strict=True))
        total += sum(w * (miss / self.sigma) ** 2 for w, miss in zip(self.weights, self.misses(theta), strict=True))
        return total / 2

    def misses(self, theta: Sequence[float]) -> list[float]:
        """ln loss of each run over what is predicted."""
        return [math.log(r.loss) - _predicted(theta, self.middle, r.parameters, r.tokens)[0] for r in self.runs]

    def huber(self, theta: Sequence[float], sigma: float) -> list[float]:
        """Weights that make squares into Huber's loss."""
        return [min(1.0, HUBER * sigma / max(abs(miss), sigma)) for miss in self.misses(theta)]

    def slopes(self, theta: Sequence[float]) -> tuple[list[float], list[list[float]]]:
        """Downhill direction and curvature, Gauss-Newton's."""
        size = range(len(theta))
        downhill = [(mean - each) / sigma**2 for each, (mean, sigma) in zip(theta, self.prior, strict=True)]
        curvature = [[float(i == j) / self.prior[i][1] ** 2 for j in size] for i in size]
        for run, weight in zip(self.runs, self.weights, strict=True):
            value, slope = _predicted(theta, self.middle, run.parameters, run.tokens)
            weight = weight / self.sigma**2
            miss = math.log(run.loss) - value
            for i in size:
                downhill[i] += weight * miss * slope[i]
                for j in size:
                    curvature[i][j] += weight * slope[i] * slope[j]
        return downhill, curvature


def _minimum(task: _Task, theta: Sequence[float]) -> tuple[Sequence[float], Matrix]:
    """Levenberg and Marquardt's way down; where it ends, and the curvature there."""
    damping, value = 1e-3, task.value(theta)
    for _ in range(STEPS):
        downhill, curvature = task.slopes(theta)
        damped = [[c * (1 + damping * (i == j)) for j, c in enumerate(row)] for i, row in enumerate(curvature)]
        step = times(inverse(damped), downhill)
        after = [each + by for each, by in zip(theta, step, strict=True)]
        found = task.value(after)
        if found > value:
            damping *= 10
            continue
        gained, theta, value, damping = value - found, after, found, damping / 10
        if gained < ENOUGH:
            break
    return theta, task.slopes(theta)[1]
