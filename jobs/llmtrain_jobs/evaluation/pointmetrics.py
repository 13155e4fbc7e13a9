"""Scores of a checkpoint as metrics. Pure."""

from llmtrain_jobs.evaluation.points import Point


def metrics_of(point: Point) -> dict[str, float]:
    """Series of one evaluator, and of the driver for the newest point."""
    shown = {f"llmtrain_evaluation_score_{series_name(name)}": float(value) for name, value in point.scores.items()}
    return shown | {
        "llmtrain_evaluation_checkpoint_step": float(point.step),
        "llmtrain_evaluation_checkpoint_tokens": float(point.tokens),
        "llmtrain_evaluation_seconds": point.seconds,
    }


def series_name(metric: str) -> str:
    """`held-out/bits_per_byte` -> `held_out_bits_per_byte`."""
    return metric.replace("/", "_").replace("-", "_")
