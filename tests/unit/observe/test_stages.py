"""What stage pods export has a type and a help text."""

from pathlib import Path

from llmtrain_jobs.entrypoint.scratch import Scratch
from prometheus_client.parser import text_string_to_metric_families

from llmtrain.observe.stages import FAMILIES, family_of


def test_the_exposition_has_help_and_type(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path)
    scratch.put_metrics({"llmtrain_train_loss": 2.5, "llmtrain_train_tokens_total": 8192.0})
    families = {family.name: family for family in text_string_to_metric_families(scratch.metrics())}
    assert families["llmtrain_train_loss"].type == "gauge"
    tokens = families["llmtrain_train_tokens"]
    assert (tokens.type, tokens.samples[0].value) == ("counter", 8192.0)
    assert all(family.documentation.endswith(".") for family in families.values())


def test_a_family_covers_the_names_that_differ_by_a_part_and_no_others() -> None:
    family = family_of("llmtrain_curation_step_prepare_done")
    assert family is not None
    assert family.name == "llmtrain_curation_step_NAME_done"
    assert family_of("llmtrain_train_nothing") is None


def test_names_are_unique() -> None:
    names = [family.name for family in FAMILIES]
    assert len(set(names)) == len(names)
