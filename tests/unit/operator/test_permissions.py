"""The operator's rights: no more than a few plain verbs, and the chart's roles are made from the table."""

from pathlib import Path

import pytest
from llmtrain_operator.permissions import ABOUT_NAMESPACES, CLUSTER, FILE, NAMESPACED, OWN, Grant, template

TEMPLATES = Path(__file__).resolve().parents[3] / "charts" / "llmtrain" / "templates"
EVERY = (*NAMESPACED, *CLUSTER, *OWN, *ABOUT_NAMESPACES)
EVERYWHERE = (*NAMESPACED, *CLUSTER)
PLAIN = {"get", "list", "watch", "create", "update", "patch", "delete"}
PAIRS = [(g.group, resource, verb) for g in EVERYWHERE for resource in g.resources for verb in g.verbs]


def test_the_charts_roles_are_what_the_table_says() -> None:
    assert (TEMPLATES / FILE).read_text() == template()


@pytest.mark.parametrize("grant", EVERY, ids=lambda grant: grant.why)
def test_no_wildcard_and_only_plain_verbs(grant: Grant) -> None:
    assert "*" not in (grant.group, *grant.resources, *grant.verbs)
    assert set(grant.verbs) <= PLAIN, "no escalate, bind, impersonate, deletecollection"
    assert grant.why[-1] in ".?"


def test_nothing_is_granted_twice() -> None:
    assert len(PAIRS) == len(set(PAIRS))


def test_secrets_are_never_read_and_nodes_never_written() -> None:
    assert {verb for _, resource, verb in PAIRS if resource == "secrets"} == {"create", "delete"}
    assert {verb for _, resource, verb in PAIRS if resource == "nodes"} <= {"get", "list", "watch"}


def test_there_is_no_way_to_run_commands_or_to_give_rights_away() -> None:
    resources = {resource for _, resource, _ in PAIRS}
    assert not {r for r in resources if r.startswith("pods/")}
    assert not {r for r in resources if "role" in r or "token" in r or "certificat" in r or "webhook" in r}


def test_what_belongs_to_a_namespace_is_not_granted_in_the_whole_cluster() -> None:
    assert {resource for g in CLUSTER for resource in g.resources} <= {
        "computeplans",
        "computeplans/status",
        "nodes",
        "namespaces",
    }


def test_config_maps_of_tenants_are_listed_nowhere_and_only_the_former_ledger_is_written() -> None:
    assert [g.names for g in EVERYWHERE if "configmaps" in g.resources and {"update", "patch"} & set(g.verbs)] == [
        ("llmtrain-ledger",)
    ]
    assert not [g for g in EVERYWHERE if "configmaps" in g.resources and {"list", "watch"} & set(g.verbs)]
