"""What the training's driver sees of the evaluators: their newest scores, and whether these end the training.

Evaluators may be late, dead or wrong about themselves; training goes on then as if there were none.
"""

import json
import threading
from dataclasses import dataclass, field
from typing import Any

from llmtrain.api.duringtraining import EarlyRequirement
from llmtrain.api.evaluation import Evaluation
from llmtrain.api.requirement import Against
from llmtrain.api.stageconfig import FailureClass, Result
from llmtrain.storage.errors import StorageError
from llmtrain.storage.store import Store
from llmtrain_jobs.context import Context
from llmtrain_jobs.errors import StageError
from llmtrain_jobs.evaluation.pointmetrics import metrics_of
from llmtrain_jobs.evaluation.points import Point, PointFiles, curve
from llmtrain_jobs.evaluation.requirements import REASON, Bars, problem_of
from llmtrain_jobs.evaluation.stored import baseline_of

LOOK_SECONDS = 5.0
SHOWN_SCORES = 16


@dataclass
class Beside:
    """Looks at the scores in a thread of its own: a storage that does not answer delays no stop.

    `below` says which requirement is missed; empty: none.
    """

    store: Store
    key: str
    evaluation: Evaluation | None
    requirements: list[EarlyRequirement] = field(default_factory=list)
    newest: Point | None = None
    below: str = ""
    _told: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, context: Context, key: str) -> "Beside":
        """Of a job; one without evaluators has nothing to look at."""
        evaluation = context.config.spec.evaluation
        if evaluation is None or evaluation.during_training is None:
            return cls(context.store, key, None)
        return cls(context.store, key, evaluation, list(evaluation.during_training.require))

    def follow(self, over: threading.Event) -> None:
        """Start to look, until training is over."""
        if self.evaluation is not None:
            threading.Thread(target=self._follow, args=(over,), daemon=True).start()

    def _follow(self, over: threading.Event) -> None:
        files = PointFiles(self.store, self.key)
        while not over.wait(LOOK_SECONDS):
            try:
                self.look(files)
            except (StorageError, StageError) as error:
                self._tell(f"scores of checkpoints cannot be read now: {error.message}")

    def look(self, files: PointFiles) -> None:
        """Take the newest scores in, and judge them."""
        found = curve(files.read())
        if not found or found[-1] == self.newest:
            return
        self.newest = found[-1]
        print(json.dumps({"evaluated": self.newest.checkpoint, "scores": dict(self.newest.scores)}), flush=True)
        self.below = self.missed(self.newest)

    def missed(self, point: Point) -> str:
        """Which requirements the point misses; one that cannot be judged ends no training."""
        held = [requirement for requirement in self.requirements if point.tokens >= requirement.after_tokens]
        problems = "; ".join(problem for requirement in held if (problem := self._problem(requirement, point)))
        where = f"after {point.tokens} tokens (step {point.step})"
        return f"`spec.evaluation.duringTraining.require`: {where} {problems}" if problems else ""

    def _problem(self, requirement: EarlyRequirement, point: Point) -> str:
        try:
            return problem_of(requirement, self._bars(point))
        except StageError as error:
            self._tell(f"`spec.evaluation.duringTraining.require` cannot be judged: {error.message}")
            return ""

    def _bars(self, point: Point) -> Bars:
        others = {Against.CHANCE: point.chance, Against.BASELINE: self._baseline()}
        return Bars(point.scores, others, frozenset(point.lower_is_better), point.problems)

    def _baseline(self) -> dict[str, str]:
        wanted = any(requirement.no_worse_than is Against.BASELINE for requirement in self.requirements)
        found = baseline_of(self.store, self.evaluation) if wanted and self.evaluation else None
        return dict(found["scores"]) if found else {}

    def verdict(self, result: Result, asked: bool) -> Result:
        """An interruption that nobody asked for but these scores is their verdict; `asked`: somebody else did."""
        if not self.below or asked or result.failure_class is not FailureClass.INTERRUPTED:
            return result
        told = {"failure_class": FailureClass.BELOW_THRESHOLD, "reason": REASON, "message": self.below[:1000]}
        return result.model_copy(update=told)

    def metrics(self) -> dict[str, float]:
        """Of the newest scores."""
        return metrics_of(self.newest) if self.newest else {}

    def progress(self) -> dict[str, Any]:
        """Fields of the progress."""
        if self.newest is None:
            return {}
        required = [requirement.metric for requirement in self.requirements]
        names = [name for name in dict.fromkeys([*required, *sorted(self.newest.scores)]) if name in self.newest.scores]
        shown = {name: self.newest.scores[name] for name in names[:SHOWN_SCORES]}
        return {"evaluated_tokens": self.newest.tokens, "scores": shown}

    def _tell(self, message: str) -> None:
        """Once in the log."""
        if message not in self._told:
            self._told.add(message)
            print(message, flush=True)
