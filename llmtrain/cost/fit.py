"""Where the numbers of `mfu.py` come from, and how far they are off on families of models that were left out."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby

from llmtrain.cost.mfu import (
    REFERENCE_PARAMETERS,
    REFERENCE_SEQUENCE,
    UNKNOWN_SCALE,
    Benchmark,
    Calendar,
    Situation,
    benchmark_mfu,
    expected_mfu,
    few,
    recompute_factor,
    smallness,
)
from llmtrain.cost.physics import Transformer, train_flops_per_token
from llmtrain.cost.ranges import Z90
from llmtrain.cost.tables import Row, chip, rows

CONSTANT_MFU = 0.375
"""What Cottier et al. 2024 assume for a run of unknown utilisation; FLOPs are 6 N D."""
COVERAGE = 0.8
"""From p10 to p90."""
HUBER = 0.3
"""Misses beyond this (x1.35) pull the fit by their sign, not by their size: one run of four times the hours is enough
to make every other estimate too slow [Huber 1964]."""
HUBER_ROUNDS = 20
ONE_FACTOR, ONE_FACTOR_SIGMA = 0.79838, 0.343
"""The estimate of before, fitted on 49 runs: a single factor from benchmark to calendar, and its spread."""
RESAMPLES = 2000
Predict = Callable[[Sequence["Run"]], Callable[["Run"], float]]
"""From runs to fit on, the MFU that is expected of another."""
MPT_SHAPES = {
    "70b": (80, 8192), "30b": (48, 7168), "13b": (40, 5120), "7b": (32, 4096), "3b": (32, 2560),
    "1b": (24, 2048), "760m": (24, 1536), "350m": (24, 1024), "125m": (12, 768),
}  # fmt: skip
"""Layers and width of the benchmarked models (llm-foundry's configurations)."""


def causal_mfu(row: Row) -> float:
    """A benchmark row's MFU, which counts full attention, with causal attention."""
    layers, width = MPT_SHAPES[row["model"]]
    attention = layers * width * float(row["seq_len"])
    dense = 6 * float(row["params"])
    return float(row["mfu_pct"]) / 100 * (dense + 6 * attention) / (dense + 12 * attention)


def fit_benchmark(table: Iterable[Row]) -> Benchmark:
    """Regression over the bf16 rows; the loss with scale within each model of the large-scale section."""
    used = [row for row in table if "fp8" not in row["precision"]]
    points = [_features(row) for row in used]
    intercept, fast, size, sequence = least_squares(points, [math.log(causal_mfu(row)) for row in used])
    return Benchmark(intercept, fast, size, sequence, _scale_slope(used))


def _features(row: Row) -> list[float]:
    size = math.log(float(row["params"]) / REFERENCE_PARAMETERS)
    sequence = math.log(float(row["seq_len"]) / REFERENCE_SEQUENCE)
    return [1.0, float(row["gpu"].startswith("h100")), size, sequence]


def _scale_slope(table: Sequence[Row]) -> float:
    """d ln MFU / d ln G, each model measured against its own mean."""
    large = sorted((row for row in table if "Large Scale" in row["section"]), key=lambda row: row["model"])
    numerator = denominator = 0.0
    for _, group in groupby(large, key=lambda r: r["model"]):
        pairs = [(math.log(float(r["n_gpus"])), math.log(causal_mfu(r))) for r in group]
        x_mean, y_mean = (sum(values) / len(pairs) for values in zip(*pairs, strict=True))
        numerator += sum((x - x_mean) * (y - y_mean) for x, y in pairs)
        denominator += sum((x - x_mean) ** 2 for x, _ in pairs)
    return numerator / denominator


def least_squares(
    points: Sequence[Sequence[float]], values: Sequence[float], weights: Sequence[float] | None = None
) -> list[float]:
    """Coefficients by the normal equations, Gauss-Jordan; the design must have full rank. All count alike by default."""
    width = len(points[0])
    scaled = points if weights is None else [[w * x for x in p] for p, w in zip(points, weights, strict=True)]
    matrix = [
        [sum(q[i] * p[j] for q, p in zip(scaled, points, strict=True)) for j in range(width)] for i in range(width)
    ]
    sums = [sum(q[i] * v for q, v in zip(scaled, values, strict=True)) for i in range(width)]
    augmented = [[*row, value] for row, value in zip(matrix, sums, strict=True)]
    for i in range(width):
        augmented[i] = [value / augmented[i][i] for value in augmented[i]]
        for j in range(width):
            if j != i:
                augmented[j] = [a - augmented[j][i] * b for a, b in zip(augmented[j], augmented[i], strict=True)]
    return [row[-1] for row in augmented]


@dataclass(frozen=True)
class Run:
    """A published run: what it had to compute, and the accelerator-hours that it took."""

    model: str
    family: str
    situation: Situation
    peak_flops: float
    flops: float
    dense_flops: float
    hours: float

    @property
    def mfu(self) -> float:
        """Calendar MFU, causal attention."""
        return self.flops / (self.hours * 3600 * self.peak_flops)


def published_runs(table: Iterable[Row]) -> list[Run]:
    """The rows marked `use_in_fit`; the marks were set before anything was fitted."""
    return [_run(row) for row in table if row["use_in_fit"] == "1"]


def other_runs(table: Iterable[Row]) -> list[Run]:
    """Rows that can be predicted at all: active parameters, tokens, sequence and accelerator-hours are given."""
    needed = ("params_active", "tokens", "seq_len", "accel_hours", "accelerator")
    return [_run(row) for row in table if all(row.get(name) for name in needed)]


def _run(row: Row) -> Run:
    active, tokens = float(row["params_active"]), float(row["tokens"])
    accelerator = chip(row["accelerator"])
    scale = int(float(row.get("accel_count") or UNKNOWN_SCALE))
    return Run(
        model=row.get("model", ""),
        family=row.get("family", ""),
        situation=Situation(accelerator.fast, active, float(row["seq_len"]), scale, _recomputed(row)),
        peak_flops=accelerator.peak_flops,
        flops=_flops_per_token(row, active) * tokens,
        dense_flops=6 * active * tokens,
        hours=float(row["accel_hours"]),
    )


def _recomputed(row: Row) -> float:
    return float(row.get("recompute", "").startswith("full"))


def _flops_per_token(row: Row, active: float) -> float:
    """From the dimensions where they are published; else 6 N."""
    if not all(row.get(name) for name in ("n_layers", "hidden", "n_heads", "ffn", "vocab")):
        return 6 * active
    dimensions = {name: int(float(row[name])) for name in ("n_layers", "hidden", "n_heads", "ffn", "vocab", "seq_len")}
    model = Transformer(
        layers=dimensions["n_layers"],
        embedding=dimensions["hidden"],
        heads=dimensions["n_heads"],
        feed_forward=dimensions["ffn"],
        vocabulary=dimensions["vocab"],
        context=dimensions["seq_len"],
        kv_heads=int(float(row.get("n_kv_heads") or 0)),
        gated=row.get("n_mlp_mats", "").startswith("3"),
    )
    return train_flops_per_token(model)


def fit_calendar(benchmark: Benchmark, runs: Sequence[Run]) -> Calendar:
    """Coefficients by a robust regression in which each family counts once; the spread makes p10 to p90 hold anew.

    Spread by conformal prediction: of the misses of families left out, each family counting once, the quantile that
    holds 80 % of n + 1 [Lei et al. 2018, Dunn et al. 2023].
    """
    misses = [(abs(miss), run.family) for miss, run in left_out(benchmark, runs)]
    families = len({family for _, family in misses})
    half = _family_quantile(misses, COVERAGE * (families + 1) / families)
    return Calendar(*_coefficients(benchmark, runs), half / Z90)


def left_out(benchmark: Benchmark, runs: Sequence[Run]) -> list[tuple[float, Run]]:
    """ln(hours taken / hours predicted) of every run, predicted from the other families."""

    def fitted(others: Sequence[Run]) -> Callable[[Run], float]:
        calendar = Calendar(*_coefficients(benchmark, others), sigma=0.0)
        return lambda run: expected_mfu(benchmark, calendar, run.situation)

    return _left_out(fitted, runs)


def left_out_by_one_factor(benchmark: Benchmark, runs: Sequence[Run]) -> list[tuple[float, Run]]:
    """The same misses of the estimate of before: one factor, whatever the size, the scale and the recomputation."""

    def fitted(others: Sequence[Run]) -> Callable[[Run], float]:
        factor = math.exp(_log_factor(benchmark, others))
        return lambda run: factor * benchmark_mfu(benchmark, run.situation)

    return _left_out(fitted, runs)


def _left_out(fit: Predict, runs: Sequence[Run]) -> list[tuple[float, Run]]:
    result = []
    for family in sorted({run.family for run in runs}):
        predicted = fit([run for run in runs if run.family != family])
        result += [(math.log(predicted(run) / run.mfu), run) for run in runs if run.family == family]
    return result


def _coefficients(benchmark: Benchmark, runs: Sequence[Run]) -> tuple[float, float, float]:
    """Factor, `small` and `server` of `Calendar`."""
    points = [[1.0, smallness(run.situation), few(run.situation)] for run in runs]
    values = [
        math.log(run.mfu / benchmark_mfu(benchmark, run.situation) / recompute_factor(run.situation)) for run in runs
    ]
    sizes = Counter(run.family for run in runs)
    intercept, small, server = _robust(points, values, [1 / sizes[run.family] for run in runs])
    return math.exp(intercept), small, server


def _robust(points: Sequence[Sequence[float]], values: Sequence[float], weights: Sequence[float]) -> list[float]:
    """Huber's regression, by least squares whose weights fall with the misses of the round before."""
    found = least_squares(points, values, weights)
    for _ in range(HUBER_ROUNDS):
        misses = [
            abs(value - sum(c * x for c, x in zip(found, point, strict=True)))
            for point, value in zip(points, values, strict=True)
        ]
        lowered = [w * min(1.0, HUBER / max(miss, HUBER)) for w, miss in zip(weights, misses, strict=True)]
        found = least_squares(points, values, lowered)
    return found


def _log_factor(benchmark: Benchmark, runs: Sequence[Run]) -> float:
    return _family_mean([(math.log(r.mfu / benchmark_mfu(benchmark, r.situation)), r.family) for r in runs])


def _family_mean(values: Sequence[tuple[float, str]]) -> float:
    sizes = Counter(family for _, family in values)
    return sum(value / sizes[family] for value, family in values) / len(sizes)


def _family_quantile(values: Sequence[tuple[float, str]], share: float) -> float:
    """The smallest value below which families weigh `share`."""
    sizes = Counter(family for _, family in values)
    ordered = sorted(values)
    weights = accumulate(1 / sizes[family] / len(sizes) for _, family in ordered)
    return next(value for (value, _), weight in zip(ordered, weights, strict=True) if weight >= share)


@dataclass(frozen=True)
class Accuracy:
    """How a way to predict did. Factors are of hours; the interval score is on ln hours [Gneiting and Raftery 2007]."""

    median_factor: float
    p90_factor: float
    covered: float
    width: float
    interval_score: float


def accuracy(misses: Sequence[float], sigma: float) -> Accuracy:
    """Of misses in ln hours under p10 to p90 = +-1.28 sigma; lower scores are better."""
    factors = sorted(math.exp(abs(miss)) for miss in misses)
    half = Z90 * sigma
    scores = [2 * half + 10 * max(0.0, abs(miss) - half) for miss in misses]
    return Accuracy(
        median_factor=factors[len(factors) // 2],
        p90_factor=factors[int(0.9 * len(factors))],
        covered=sum(abs(miss) <= half for miss in misses) / len(misses),
        width=math.exp(2 * half),
        interval_score=sum(scores) / len(scores),
    )


def coverage_interval(misses: Sequence[tuple[float, Run]], sigma: float) -> tuple[float, float]:
    """5 % and 95 % of the share of runs inside p10 to p90, when families are drawn anew with replacement."""
    import random  # the commands that register beside this one start without it

    half = Z90 * sigma
    counts: dict[str, list[int]] = {}
    for miss, run in misses:
        inside, total = counts.get(run.family, [0, 0])
        counts[run.family] = [inside + (abs(miss) <= half), total + 1]
    draw = random.Random(0)
    families = list(counts.values())
    shares = sorted(_share(draw.choices(families, k=len(families))) for _ in range(RESAMPLES))
    return shares[RESAMPLES // 20], shares[-RESAMPLES // 20]


def _share(counts: Sequence[Sequence[int]]) -> float:
    return sum(inside for inside, _ in counts) / sum(total for _, total in counts)


def constant_misses(runs: Iterable[Run]) -> list[float]:
    """ln(hours taken / hours predicted) with 6 N D and one constant MFU."""
    return [math.log(run.hours * 3600 * run.peak_flops * CONSTANT_MFU / run.dense_flops) for run in runs]


def refit() -> tuple[Benchmark, Calendar]:
    """From the tables that ship."""
    benchmark = fit_benchmark(rows("mfu_benchmarks"))
    return benchmark, fit_calendar(benchmark, published_runs(rows("published_runs")))
