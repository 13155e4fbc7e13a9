"""The comparison of models and apiserver over a thousand manifests of each kind."""

import pytest

from tests.api import test_generated
from tests.api.conftest import Api
from tests.api.conftest import api as api


@pytest.mark.timeout(3000)
@pytest.mark.parametrize("kind", ["LLMTrainingJob", "ComputePlan"])
def test_a_thousand_manifests(kind: str, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(test_generated, "SAMPLE", 1000)
    test_generated.test_the_models_accept_exactly_what_the_apiserver_accepts(kind, api, monkeypatch)
