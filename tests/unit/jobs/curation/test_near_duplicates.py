"""Near-duplicates against a corpus whose similarities are known by construction, and against the closed formula."""

import itertools
from typing import Any

import numpy as np
import pytest
from llmtrain_jobs.curation.corpus import Chunk
from llmtrain_jobs.curation.dedup import lsh
from llmtrain_jobs.curation.dedup.clusters import clusters_of, diameters, exact_pairs
from llmtrain_jobs.curation.dedup.lsh import pairs_of
from llmtrain_jobs.curation.dedup.verify import EDGE, bundles_of
from llmtrain_jobs.curation.layout import Layout
from llmtrain_jobs.curation.minhash import Permutations, jaccard, shingles_of
from llmtrain_jobs.curation.signals.words import normal_hashes

from tests.unit.jobs.curation import planted
from tests.unit.jobs.curation.world import Backwards, World, jsonl, prose

pytestmark = pytest.mark.timeout(300)
OPEN: dict[str, Any] = {"filters": {"presets": []}, "pii": {"action": "Keep"}}


@pytest.mark.parametrize("level", list(planted.LEVELS))
def test_candidates_are_found_as_often_as_the_formula_says(level: float) -> None:
    count, shared, size = planted.LEVELS[level], planted.shared_for(level), planted.SHINGLES
    generator, permutations = np.random.default_rng(round(level * 100)), Permutations.make(112, 14)
    drawn = generator.integers(0, 2**64, size=(count, 2 * size - shared), dtype=np.uint64)
    left = np.stack([permutations.signature(row[:size]) for row in drawn])
    right = np.stack([permutations.signature(np.concatenate([row[:shared], row[size:]])) for row in drawn])
    found = (permutations.band_hashes(left) == permutations.band_hashes(right)).any(axis=1)
    assert found.mean() == pytest.approx(planted.expected_recall(planted.exact(level)), abs=0.02)


@pytest.mark.parametrize("level", list(planted.LEVELS))
def test_the_exact_similarity_is_exact(level: float) -> None:
    pair = planted.pairs(level, 1, 2)[0]
    left, right = (np.unique(shingles_of(normal_hashes(text), 5)) for text in (pair.left, pair.right))
    assert jaccard(left, right) == pair.jaccard


def plant(world: World, count: int) -> dict[tuple[int, int], float]:
    """Left texts in one file, right ones in another, of another source; similarity by pair of document numbers."""
    made = [pair for level in planted.LEVELS for pair in planted.pairs(level, count, 3)]
    jsonl(world.root / "in" / "a.jsonl", [{"text": pair.left} for pair in made])
    jsonl(world.root / "in" / "b.jsonl", [{"text": pair.right} for pair in made])
    return {(i, i + len(made)): pair.jaccard for i, pair in enumerate(made)}


def edges_in(world: World) -> set[tuple[int, int]]:
    files = sorted((world.root / "work").rglob("edges-*.npy"))
    edges = np.concatenate([np.zeros(0, dtype=EDGE), *(np.fromfile(file, dtype=EDGE) for file in files)])
    return set(zip(edges["left"].tolist(), edges["right"].tolist(), strict=True))


def test_pairs_across_files_and_parts_are_found_and_none_below_the_bound(world: World) -> None:
    truth = plant(world, 30)
    world.run({**OPEN, "limits": {"partBytes": 50_000, "chunkBytes": 20_000}}, pool=Backwards)
    found = edges_in(world)
    assert all(truth[pair] >= 0.70 for pair in found)
    likely = [pair for pair, value in truth.items() if value > 0.85]
    assert len(found.intersection(likely)) == len(likely)


SCOPES = {"Global": 1, "Group": 1, "Source": 0}


@pytest.mark.parametrize("scope", list(SCOPES))
def test_scope_says_within_what_documents_are_compared(world: World, scope: str) -> None:
    pair = planted.pairs(0.9, 1, 4)[0]
    for name, text in (("a", pair.left), ("b", pair.right)):
        jsonl(
            world.root / "in" / f"{name}.jsonl",
            [{"text": text}, *({"text": prose(i + ord(name) * 100)} for i in range(20))],
        )
    sources = [{"name": name, "path": f"in/{name}.jsonl", "group": "web"} for name in ("a", "b")]
    deduplication = {"minHash": {"scope": scope}}
    result = world.run({**OPEN, "sources": sources, "deduplication": deduplication})
    assert world.report(result)["duplicates"]["verified"] == SCOPES[scope]


def test_the_representative_is_the_first_that_the_rules_keep(world: World) -> None:
    pair = planted.pairs(0.9, 1, 5)[0]
    rows = [{"text": pair.left}, {"text": pair.right + " the and of"}, *({"text": prose(i)} for i in range(30))]
    jsonl(world.root / "in" / "a.jsonl", rows)
    result = world.run({"filters": {"presets": ["Gopher"]}, "pii": {"action": "Keep"}})
    fates = world.report(result)["ledger"]["fates"]
    assert world.report(result)["duplicates"]["verified"] == 1
    assert "duplicate.near" not in fates  # the first of the pair fails on stop words, so that the second stays


def test_all_pairs_of_a_bucket_are_candidates_and_a_huge_bucket_stays_linear() -> None:
    hashes = np.array([5, 7, 5, 5, 7, 9], dtype=np.uint64)
    assert pairs_of(hashes, np.arange(6)).tolist() == [[0, 2], [0, 3], [1, 4], [2, 3]]
    huge = pairs_of(np.ones(5000, dtype=np.uint64), np.arange(5000))
    assert len(huge) < 2 * 5000
    assert len(set(clusters_of(5000, huge).tolist())) == 1


def test_bands_are_read_from_their_place_in_the_file(world: World) -> None:
    plant(world, 5)
    context = world.context({**OPEN, "limits": {"partBytes": 10_000, "chunkBytes": 3000}})
    world.run({**OPEN, "limits": {"partBytes": 10_000, "chunkBytes": 3000}})
    file = next((world.root / "work").rglob("*.bands"))
    whole = np.fromfile(file, dtype=np.uint64).reshape(14, -1)
    part, chunk = int(file.parent.name), int(file.stem)
    layout = Layout(file.parents[2].name)
    for band in (0, 7, 13):
        read = lsh.read_band(context.store, layout, Chunk(part, chunk, 0, whole.shape[1]), band)
        assert read.tolist() == whole[band].tolist()


def test_a_bundle_stays_within_its_bytes_and_no_pair_is_lost() -> None:
    generator = np.random.default_rng(6)
    pairs = np.unique(np.sort(generator.integers(0, 300, size=(500, 2))), axis=0)
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    sizes = generator.integers(10, 100, size=300)
    bundles = bundles_of(pairs, sizes, 2000)
    assert np.concatenate(bundles).tolist() == pairs.tolist()
    assert all(2 * int(sizes[np.unique(bundle)].sum()) <= 2000 for bundle in bundles)


def test_texts_that_differ_in_marks_alone_stay_and_texts_of_symbols_repeat_each_other(world: World) -> None:
    hindi = ["पिता का घर दूर है", "पीता को घर दूर हे"]
    rows = [{"text": prose(i)} for i in range(60)] + [{"text": text} for text in [*hindi, *["😀 ∑∫≤"] * 10, "∑∫≤ 😀"]]
    jsonl(world.root / "in" / "a.jsonl", rows)
    fates = world.report(world.run(OPEN))["ledger"]["fates"]
    assert fates["duplicate.exact"]["documents"] == 9
    assert fates["kept"]["documents"] + fates["heldOut"]["documents"] == 64


def test_components_and_diameters_of_known_graphs() -> None:
    chain = np.array([[i, i + 1] for i in range(5)])
    star = np.array([[10, 11], [10, 12], [10, 13]])
    clique = np.array(list(itertools.combinations(range(20, 24), 2)))
    joined = np.concatenate([chain, star, clique])
    clusters = clusters_of(30, joined)
    assert clusters[:6].tolist() == [0] * 6
    assert clusters[10:14].tolist() == [10] * 4
    assert clusters[6] == 6
    assert diameters(joined) == {1: 1, 2: 1, 5: 1}


def test_exact_repeats_point_to_their_first_and_documents_without_words_repeat_nothing() -> None:
    high, low = np.array([1, 0, 1, 2, 1, 0], dtype=np.uint64), np.array([1, 0, 1, 1, 1, 0], dtype=np.uint64)
    assert exact_pairs(high, low).tolist() == [[0, 2], [0, 4]]
    assert exact_pairs(high[:0], low[:0]).tolist() == []
