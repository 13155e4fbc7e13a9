"""The comparison of our words and the apiserver's over a thousand manifests of each kind."""

import pytest

from tests.api import test_generated
from tests.api.conftest import Api
from tests.api.conftest import api as api


@pytest.mark.timeout(3000)
@pytest.mark.parametrize("kind", ["LLMTrainingJob", "ComputePlan", "TrainingBudget"])
def test_a_thousand_manifests(kind: str, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(test_generated, "SAMPLE", 1000)
    test_generated.test_we_refuse_exactly_what_the_apiserver_refuses_in_its_words(kind, api, monkeypatch)
