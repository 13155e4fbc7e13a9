"""Scores of checkpoints, one file each beside them: written by evaluators, read by training, by evaluation, by people."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from llmtrain.storage.store import Store, artifact_folder
from llmtrain_jobs.errors import bad_input
from llmtrain_jobs.evaluation.finite import strict_json
from llmtrain_jobs.training.checkpoints import Checkpoint


@dataclass(frozen=True)
class Point:
    """One checkpoint's scores. `scores` are decimals in text by `task/metric`."""

    checkpoint: str
    step: int
    tokens: int
    generation: int
    attempt: int
    scores: Mapping[str, str]
    errors: Mapping[str, str] = field(default_factory=dict)
    """Standard errors, of the scores that have one."""
    lower_is_better: Sequence[str] = ()
    chance: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    """That the evaluator took, its reading of the checkpoint included."""
    evaluator_usd: str = ""
    """What these seconds of the evaluator cost."""
    endpoint_usd: str = ""
    """What a judge and its reference were paid meanwhile."""
    spent_usd: str = ""
    """About what the job had cost when the checkpoint was found: the bill before the attempt, and its pods' price since."""
    problems: Mapping[str, str] = field(default_factory=dict)
    """Why there is no score, by task or by `task/metric`."""

    @property
    def order(self) -> tuple[int, int]:
        """Later after earlier: a roll-back's new generation comes after what it undid."""
        return self.generation, self.tokens


def points_folder(key: str) -> str:
    """Of a training artifact."""
    return f"{artifact_folder('training', key)}/evaluations"


def write_point(store: Store, key: str, point: Point) -> None:
    """Visible once it is whole; named like the checkpoint."""
    name = point.checkpoint.rsplit("/", 1)[1]
    store.write(f"{points_folder(key)}/{name}.json", strict_json(asdict(point), indent=1, sort_keys=True).encode())


@dataclass
class PointFiles:
    """The points of a training; each file is read once."""

    store: Store
    key: str
    _known: dict[str, Point] = field(default_factory=dict)

    def read(self) -> list[Point]:
        """All, in the order of their making; raises bad_input for a file that is no point."""
        names = self.store.glob(f"{points_folder(self.key)}/step-*.json")
        self._known |= {name: _parse(name, self.store.read(name)) for name in names if name not in self._known}
        return sorted((self._known[name] for name in names), key=lambda point: point.order)


def _parse(name: str, data: bytes) -> Point:
    try:
        return Point(**json.loads(data))
    except (TypeError, ValueError) as error:
        raise bad_input(f"`{name}` is not what an evaluator writes: {error}", "UnreadableScores") from error


def curve(points: Sequence[Point]) -> list[Point]:
    """Points of the training as it is: what a roll-back undid is left out."""
    kept: list[Point] = []
    for point in sorted(points, key=lambda p: p.order, reverse=True):
        if not kept or point.tokens < kept[-1].tokens:
            kept.append(point)
    return kept[::-1]


def is_due(newest: Checkpoint, points: Sequence[Point], every: int, evaluator: int, evaluators: int) -> bool:
    """Whether it is this evaluator's turn, and the newest checkpoint's stretch of `every` tokens has no score yet.

    Evaluators take the stretches in turns, so that two never score the same one.
    """
    generation, stretch = int(newest.facts["generation"]), int(newest.facts["tokens"]) // every
    scored = {(point.generation, point.tokens // every) for point in points}
    return stretch > 0 and stretch % evaluators == evaluator and (generation, stretch) not in scored
