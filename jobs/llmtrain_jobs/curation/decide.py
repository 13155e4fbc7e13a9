"""Third step, over the whole corpus: the one fate of every document."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llmtrain.api.curation import Curation, SplitBy
from llmtrain_jobs.curation import judge as judging
from llmtrain_jobs.curation.dates import NO_DAY
from llmtrain_jobs.curation.judge import Judged, fates_of
from llmtrain_jobs.curation.signals.hashing import Hashes, mixed

Fates = NDArray[np.uint8]


@dataclass(frozen=True)
class Verdicts:
    """`broken`: (documents, rules), every rule that a document breaks. `fate`: index into `fates_of`."""

    names: list[str]
    broken: NDArray[np.bool_]
    fate: Fates


def decide(
    curation: Curation,
    judged: Judged,
    contaminated: NDArray[np.bool_],
    exact_first: NDArray[np.int64],
    clusters: NDArray[np.int64],
    seed: int,
) -> Verdicts:
    """First failing rule, then repeats of a document that stays, then the split.

    `exact_first`: for every document the first with the same text. Of a cluster the first document that passes the
    rules stays. What is taken down takes its cluster with it: a copy must not step into its place.
    """
    names = fates_of(curation)
    broken = np.concatenate([judged.broken, contaminated[:, None]], axis=1)
    broken[:, names.index(judging.TAKEDOWN)] |= _in_clusters_of(broken[:, names.index(judging.TAKEDOWN)], clusters)
    fate = np.where(broken.any(axis=1), broken.argmax(axis=1), names.index(judging.KEPT)).astype(np.uint8)
    survivors = fate == names.index(judging.KEPT)
    fate[repeats(survivors, clusters)] = names.index(judging.NEAR)
    fate[repeats(survivors, exact_first)] = names.index(judging.EXACT)
    kept = fate == names.index(judging.KEPT)
    fate[kept & held_out(curation, judged, clusters, kept, seed)] = names.index(judging.HELD_OUT)
    return Verdicts(names, broken, fate)


def staying(verdicts: Verdicts) -> NDArray[np.bool_]:
    """Documents that go into a split."""
    return np.isin(verdicts.fate, [verdicts.names.index(judging.KEPT), verdicts.names.index(judging.HELD_OUT)])


def most_taken(verdicts: Verdicts) -> str:
    """The three fates that took most documents, for people; empty where none took any."""
    counts = Counter(verdicts.fate[~staying(verdicts)].tolist()).most_common(3)
    told = ", ".join(f"`{verdicts.names[fate]}` {count}" for fate, count in counts)
    return f"; most were taken by {told}" if told else ""


def _in_clusters_of(chosen: NDArray[np.bool_], clusters: NDArray[np.int64]) -> NDArray[np.bool_]:
    return np.isin(clusters, clusters[chosen]) if chosen.any() else chosen


def repeats(survivors: NDArray[np.bool_], groups: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Survivors that are not the first survivor of their group."""
    numbers = np.flatnonzero(survivors)
    _, first = np.unique(groups[numbers], return_index=True)
    result = survivors.copy()
    result[numbers[first]] = False
    return result


def held_out(
    curation: Curation, judged: Judged, clusters: NDArray[np.int64], kept: NDArray[np.bool_], seed: int
) -> NDArray[np.bool_]:
    """Which documents go to validation: clusters at random by their content, or the newest."""
    share = float(curation.validation.share)
    if curation.validation.by is SplitBy.DATE:
        return newest(judged.day, kept, share)
    first: Hashes = judged.key_low[clusters]
    drawn = mixed(mixed(first ^ np.uint64(seed)) + judged.key_high[clusters])
    return drawn < np.uint64(min(share, 0.999999) * 2.0**64)


def newest(day: NDArray[np.int64], kept: NDArray[np.bool_], share: float) -> NDArray[np.bool_]:
    """Documents of the last days that together make at most the share, of at least the last day."""
    dated = np.sort(day[kept & (day != NO_DAY)])
    if not len(dated):
        return np.zeros(len(day), dtype=np.bool_)
    most = int(share * np.count_nonzero(kept))
    boundary = dated[-most - 1] + 1 if most < len(dated) else dated[0]
    chosen: NDArray[np.bool_] = (day >= min(boundary, dated[-1])) & (day != NO_DAY)
    return chosen
