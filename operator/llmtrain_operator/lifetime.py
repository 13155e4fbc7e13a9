"""How long pods may live on what is left of a budget: the bound that holds while no operator runs.

A kubelet ends a pod `activeDeadlineSeconds` after it has taken it, and needs nobody for that. So pods are created with
a deadline at which their bills, added up to their very end, are within the limit. The head's comes first: it tells its
workers to stop and saves with them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from llmtrain_operator.exposure import price_for
from llmtrain_operator.manifests import GRACE_SECONDS
from llmtrain_operator.pricing import Price

ACCEPT_SECONDS = 10
"""From a pod's binding, where its bill starts, to its kubelet's acceptance, where its deadline does."""
KILL_SECONDS = 15
"""How late a kubelet may be: 2 to 7 s were seen of one on two cores with a load of 15, the most after a deadline was lowered."""
TAIL_SECONDS = GRACE_SECONDS + KILL_SECONDS
"""From a pod's deadline to its end, at most: it saves."""
HEAD_FIRST_SECONDS = 10
"""From the head's deadline to its workers', so that the work stops in good order; a worker that is told to go saves too."""


@dataclass(frozen=True)
class Share:
    """`count` pods of one price that are billed for so many seconds beyond those that are looked for."""

    price: Price
    beyond: int
    count: int = 1

    def micro_usd(self, seconds: int) -> int:
        """Their bill."""
        return self.count * price_for(self.price, seconds + self.beyond)


def affordable_seconds(room: int, shares: Sequence[Share], longest: int) -> int:
    """The most seconds, 0 to `longest`, whose bills fit into `room` microdollars.

    Bills grow in steps, by increments and minimums, but never fall with time, so halving finds the last that fits.
    """
    low, high = 0, max(0, longest)
    while low < high:
        middle = (low + high + 1) // 2
        if sum(share.micro_usd(middle) for share in shares) <= room:
            low = middle
        else:
            high = middle - 1
    return low


def cluster_shares(head: Price, worker: Price, workers: int) -> list[Share]:
    """A whole cluster, in seconds of its head's deadline."""
    beyond = ACCEPT_SECONDS + TAIL_SECONDS
    return [Share(head, beyond), Share(worker, beyond + HEAD_FIRST_SECONDS, workers)]
