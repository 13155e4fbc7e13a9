"""The only place that knows what things are called: objects, labels, annotations, finalizers."""

import re
from dataclasses import dataclass
from functools import lru_cache

from llmtrain.api import GROUP
from llmtrain.api.status import Stage

FINALIZER_POD = f"{GROUP}/settle"
FINALIZER_JOB = f"{GROUP}/ledger"
PRICE_ANNOTATION = f"{GROUP}/price"
POWER_ANNOTATION = f"{GROUP}/power"

LABEL_JOB = f"{GROUP}/job"
LABEL_JOB_UID = f"{GROUP}/job-uid"
LABEL_STAGE = f"{GROUP}/stage"
LABEL_ATTEMPT = f"{GROUP}/attempt"
LABEL_ROLE = f"{GROUP}/role"
LABEL_INDEX = f"{GROUP}/index"
LABEL_INCARNATION = f"{GROUP}/incarnation"

HEAD = "head"
WORKER = "worker"
EVALUATOR = "evaluator"

SHORT = {Stage.PREFLIGHT: "pre", Stage.CURATION: "cur", Stage.TRAINING: "trn", Stage.EVALUATION: "evl"}

STAGE_OF = {short: stage for stage, short in SHORT.items()}
ROLE_OF = {"w": WORKER, "e": EVALUATOR}
POD_NAME = re.compile(
    rf"(?P<job>[a-z0-9.-]+)-(?P<stage>{'|'.join(STAGE_OF)})-(?P<attempt>[0-9]{{1,9}})-"
    r"(?:head|(?P<role>[we])(?P<index>[0-9]{1,4})-(?P<incarnation>[0-9]{1,9}))"
)

KNOWN_NAMES = 512
"""Each look asks what the names of all pods of a job say: of some hundreds, while a large cluster comes or goes."""


@dataclass(frozen=True)
class Attempt:
    """One cluster: the n-th attempt of a stage of a job."""

    job: str
    namespace: str
    uid: str
    stage: Stage
    number: int
    nonce: str = ""
    """Nobody can guess it, so nobody can put a Secret with a token of his own where ours will be."""

    @property
    def cluster(self) -> str:
        """Stem of every name of this attempt."""
        return f"{self.job}-{SHORT[self.stage]}-{self.number}"

    @property
    def head(self) -> str:
        """The head pod, and the headless Service of that name."""
        return f"{self.cluster}-head"

    @property
    def token(self) -> str:
        """The Secret with Ray's token."""
        return f"{self.cluster}-{self.nonce}-token" if self.nonce else f"{self.cluster}-token"

    @property
    def config(self) -> str:
        """The ConfigMap with the stage's config."""
        return f"{self.cluster}-config"

    @property
    def head_address(self) -> str:
        """DNS name of the head within the cluster."""
        return f"{self.head}.{self.namespace}.svc"

    def worker(self, index: int, incarnation: int) -> str:
        """The pod of a worker slot."""
        return f"{self.cluster}-w{index}-{incarnation}"

    def evaluator(self, index: int, incarnation: int) -> str:
        """The pod of an evaluator slot."""
        return f"{self.cluster}-e{index}-{incarnation}"

    @property
    def policy(self) -> str:
        """The NetworkPolicy of the attempt's pods."""
        return f"{self.cluster}-pods"

    def pod(self, role: str, index: int, incarnation: int) -> str:
        """Name of the pod with these labels."""
        if role == EVALUATOR:
            return self.evaluator(index, incarnation)
        return self.head if role == HEAD else self.worker(index, incarnation)

    def labels(self, role: str | None = None, index: int = 0, incarnation: int = 1) -> dict[str, str]:
        """Labels of an object of this attempt; of one pod where `role` is given."""
        labels = {
            LABEL_JOB: self.job,
            LABEL_JOB_UID: self.uid,
            LABEL_STAGE: self.stage.value,
            LABEL_ATTEMPT: str(self.number),
            "app.kubernetes.io/managed-by": "llmtrain-operator",
        }
        if role is None:
            return labels
        return labels | {LABEL_ROLE: role, LABEL_INDEX: str(index), LABEL_INCARNATION: str(incarnation)}


@dataclass(frozen=True)
class PodName:
    """What the name of a pod says. Nobody can change a name, and only the operator has one like this for a pod of its own."""

    job: str
    stage: Stage
    attempt: int
    role: str
    index: int = 0
    incarnation: int = 1

    def labels(self, uid: str) -> dict[str, str]:
        """Our labels of this pod of the job with this uid, those by which it is found."""
        return {
            LABEL_JOB: self.job,
            LABEL_JOB_UID: uid,
            LABEL_STAGE: self.stage.value,
            LABEL_ATTEMPT: str(self.attempt),
            LABEL_ROLE: self.role,
            LABEL_INDEX: str(self.index),
            LABEL_INCARNATION: str(self.incarnation),
        }


@lru_cache(maxsize=KNOWN_NAMES)
def read_pod_name(name: str) -> PodName | None:
    """What a pod's name says; None for one that no pod of ours has."""
    found = POD_NAME.fullmatch(name)
    if found is None:
        return None
    job, stage, attempt = found["job"], STAGE_OF[found["stage"]], int(found["attempt"])
    if found["role"] is None:
        return PodName(job, stage, attempt, HEAD)
    return PodName(job, stage, attempt, ROLE_OF[found["role"]], int(found["index"]), int(found["incarnation"]))


def job_selector(uid: str) -> str:
    """Label selector of everything that belongs to a job."""
    return f"{LABEL_JOB_UID}={uid}"
