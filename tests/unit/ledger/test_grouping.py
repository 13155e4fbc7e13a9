"""Lines added up by a label, and ids of lines that stay."""

from dataclasses import replace
from typing import Any

import pytest

from llmtrain.api.status import Split
from llmtrain.ledger.grouping import LabelError, checked_label, grouped, row_id
from tests.unit.ledger.billed import line

NLP, OPS = {"cost-centre": "nlp", "owner": "ann"}, {"cost-centre": "ops"}


def test_jobs_with_one_value_of_the_label_are_one_line_and_no_microdollar_is_lost() -> None:
    lines = [
        line(labels=NLP, split=Split(working=5)),
        line(labels=NLP | {"owner": "bob"}, job="other", uid="u2", start="2026-10-01T00:00:00Z", end="",
             split=Split(working=2, redone=1), cost_micro_usd=7),
        line(labels=OPS, uid="u3"), line(uid="u4"), line(uid="u5", labels=NLP, role="head"),
    ]  # fmt: skip
    found = grouped(lines, "cost-centre")
    assert sum(one.cost_micro_usd for one in found) == sum(one.cost_micro_usd for one in lines)
    assert [(one.role, dict(one.labels)) for one in found] == [
        ("head", {"cost-centre": "nlp"}),
        ("worker", {}),
        ("worker", {"cost-centre": "nlp"}),
        ("worker", {"cost-centre": "ops"}),
    ]
    both = found[2]
    assert (both.job, both.uid, both.pods, both.cost_micro_usd) == ("", "", 4, 1_396_507)
    assert (both.start, both.end) == ("2026-10-01T00:00:00Z", ""), "one of them is not over"
    assert both.split == Split(working=7, redone=1)
    assert grouped(reversed(lines), "cost-centre") == found


def test_an_empty_value_is_a_value() -> None:
    assert len(grouped([line(labels={"a": ""}), line()], "a")) == 2


@pytest.mark.parametrize("label", ["cost-centre", "example.com/cost-centre", "a", "A_b.c-9"])
def test_keys_of_labels_are_taken(label: str) -> None:
    assert checked_label(label) == label


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("cost centre", "'cost centre' is no key of a label"),
        ("-a", "no key of a label"),
        ("a/b/c", "no key of a label"),
        ("a" * 64, "no key of a label"),
        ("=1+1", "no key of a label"),
        ("a\n", "no key of a label"),
        ("llmtrain.dev/job", "is a label of the operator"),
    ],
)
def test_other_words_are_refused_by_name(label: str, message: str) -> None:
    with pytest.raises(LabelError, match=message):
        checked_label(label)


def test_a_line_keeps_its_id_whatever_it_comes_to() -> None:
    later = line(cost_micro_usd=99, pods=7, pod_seconds=1, end="", labels=NLP, commitment="Spot", job="renamed")
    assert row_id(line()) == row_id(later) == "727df5b364301f9370319f67ccfe7427"


def test_lines_that_differ_have_other_ids() -> None:
    others: list[dict[str, Any]] = [
        {"namespace": "b"}, {"uid": "u2"}, {"booked": "p1"}, {"stage": "Curation"}, {"role": "head"}, {"plan": "b"},
        {"tenure": "Owned"}, {"state": "Provisional"}, {"uid": ""}, {"uid": "", "labels": NLP}, {"uid": "", "labels": OPS},
    ]  # fmt: skip
    ids = [row_id(line()), row_id(line(), "2026-11"), *(row_id(replace(line(), **other)) for other in others)]
    assert len(set(ids)) == len(ids)
