"""What a job asks for, in numbers: its stages, the pods of each, and the work that they do."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from llmtrain.cost.physics import ModelSize, Recompute
from llmtrain.cost.plans import Plan, Pods
from llmtrain.cost.storage import Files, StorageCost

NO_PODS = Pods(0, Decimal(0), Decimal(0))


@dataclass(frozen=True)
class Cluster:
    """The pods of one stage and the plan that prices them."""

    plan: Plan
    head: Pods
    workers: Pods = NO_PODS

    @property
    def pods(self) -> Sequence[Pods]:
        """Both groups."""
        return (self.head, self.workers)

    @property
    def accelerators(self) -> int:
        """Of all pods."""
        return sum(group.count * group.accelerators for group in self.pods)

    @property
    def cores(self) -> float:
        """CPU cores of the workers, which do the work; of the head where there are none."""
        group = self.workers if self.workers.count else self.head
        return group.count * float(group.cpu)


@dataclass(frozen=True)
class CheckWork:
    """Preflight: a look at the sources."""


@dataclass(frozen=True)
class CurationWork:
    """Text to read; None: as much as the training's tokens need, by assumption."""

    input_bytes: float | None
    training_tokens: float


@dataclass(frozen=True)
class TrainingWork:
    """Tokens to train a model on."""

    model: ModelSize
    tokens: float
    checkpoint_seconds: float
    half_speed: bool = False
    shards: int = 1
    sequences_per_accelerator: float = 1
    """At once; below 1 where several accelerators divide a sequence."""
    recompute: Recompute = Recompute.SELECTIVE
    recomputed: float = 0.0
    """Share of the blocks that the backward pass computes again."""
    files: Files | None = None
    """What it keeps; None: not known."""
    on_cpus: bool = False
    """The arithmetic is done on cores, whatever accelerators are held and paid for."""


def computes_on_cpus(work: object, cluster: Cluster) -> bool:
    """Whether cores do the arithmetic: the cluster has nothing else, or the training is told to."""
    return cluster.accelerators == 0 or (isinstance(work, TrainingWork) and work.on_cpus)


@dataclass(frozen=True)
class EvaluationWork:
    """Tokens that the model reads once."""

    model: ModelSize
    tokens: float


Work = CheckWork | CurationWork | TrainingWork | EvaluationWork


@dataclass(frozen=True)
class StageSpec:
    """One stage."""

    name: str
    cluster: Cluster
    work: Work
    beside: Cluster | None = None
    """Pods on a plan of their own that live as long as the stage: evaluators."""

    @property
    def storage(self) -> StorageCost | None:
        """What the stage keeps; None where its plan does not price that, or nothing is known of it."""
        files, prices = self.work.files if isinstance(self.work, TrainingWork) else None, self.cluster.plan.storage
        return StorageCost(prices, files) if prices and files else None

    @property
    def clusters(self) -> list["Cluster"]:
        """All that the stage pays for."""
        return [self.cluster, *([self.beside] if self.beside else [])]


@dataclass(frozen=True)
class Measured:
    """Speed that was measured of this training on this chip: replaces the prior."""

    mfu: float
    source: str


@dataclass(frozen=True)
class RunSpec:
    """A whole job."""

    name: str
    stages: Sequence[StageSpec]
    measured: Measured | None = None
    curation_bytes_per_core_second: float | None = None

    @property
    def training(self) -> StageSpec:
        """The stage that trains."""
        return next(stage for stage in self.stages if isinstance(stage.work, TrainingWork))

    @property
    def training_work(self) -> TrainingWork:
        """What that stage does."""
        return next(stage.work for stage in self.stages if isinstance(stage.work, TrainingWork))
