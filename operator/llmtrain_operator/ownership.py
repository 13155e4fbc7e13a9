"""Which pods are the job's. Anybody may put our labels on a pod of his own; such a pod is neither billed nor deleted."""

from collections.abc import Iterable

from llmtrain.api.status import Stage
from llmtrain_operator.billing import frozen_price
from llmtrain_operator.client import Object
from llmtrain_operator.names import ROLES, Attempt
from llmtrain_operator.observation import Job
from llmtrain_operator.podstate import PodState


def own_pods(job: Job, found: Iterable[Object]) -> list[PodState]:
    """Pods that this operator made for this job."""
    return [PodState(pod) for pod in found if is_own(job, pod)]


def is_own(job: Job, pod: Object) -> bool:
    """Controlled by the job, with a readable price, and named as its labels say."""
    controllers = [o.get("uid") for o in pod["metadata"].get("ownerReferences", []) if o.get("controller")]
    return controllers == [job.uid] and _has_price(pod) and _name_of_labels(job, PodState(pod)) == _name(pod)


def _name(pod: Object) -> str:
    return str(pod["metadata"]["name"])


def _has_price(pod: Object) -> bool:
    try:
        frozen_price(pod)
    except (TypeError, ValueError):
        return False
    return True


def _name_of_labels(job: Job, pod: PodState) -> str:
    """The name that a pod with these labels has; empty for labels that no pod of ours has."""
    if pod.stage not in set(Stage) or pod.role not in ROLES:
        return ""
    try:
        attempt = Attempt(job.name, job.namespace, job.uid, Stage(pod.stage), pod.attempt)
        return attempt.pod(pod.role, pod.index, pod.incarnation)
    except ValueError:
        return ""
