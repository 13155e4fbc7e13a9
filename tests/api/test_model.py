"""Step 3 against the real apiserver: every preset is accepted, what cannot be built is refused with the field."""

from typing import Any

import pytest

from llmtrain.api.model import Preset
from tests.api.conftest import Api
from tests.api.test_manifests import changed

PLAIN = {"layers": 2, "heads": 4, "embedding": 64}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "groups": (PLAIN | {"keyValueHeads": 3}, "`heads` must be a multiple of `keyValueHeads`"),
    "odd head": (
        PLAIN | {"embedding": 20, "positions": {"kind": "Rope"}},
        "`positions.kind: Rope` needs an even width of a head",
    ),
    "odd head width": (PLAIN | {"headWidth": 7, "positions": {"kind": "Rope"}}, "needs an even width of a head"),
    "odd sinusoids": (
        {"layers": 2, "heads": 3, "embedding": 9, "positions": {"kind": "Sinusoidal"}},
        "`positions.kind: Sinusoidal` needs an even `embedding`",
    ),
    "scaling without rope": (
        PLAIN | {"positions": {"kind": "Alibi", "ropeScaling": {"kind": "Yarn", "factor": "4"}}},
        "`ropeScaling` needs `kind: Rope`",
    ),
    "norm": (PLAIN | {"norm": {"kind": "BatchNorm"}}, '"LayerNorm", "RMSNorm"'),
    "placement": (PLAIN | {"norm": {"placement": "Middle"}}, '"Pre", "Post", "Output", "Sandwich"'),
    "dropout": (PLAIN | {"dropout": "1.0"}, "spec.model.architecture.dropout"),
    "dropout as a number": (PLAIN | {"dropout": 0.1}, "spec.model.architecture.dropout"),
    "unknown": (PLAIN | {"experts": 8}, 'unknown field "spec.model.architecture.experts"'),
}
WHOLE = {
    "layers": 2, "heads": 4, "keyValueHeads": 2, "headWidth": 32, "embedding": 64, "feedForward": 256,
    "norm": {"kind": "RMSNorm", "placement": "Sandwich", "epsilon": "1e-6"},
    "activation": {"kind": "ReluSquared", "gated": True},
    "positions": {"kind": "Rope", "ropeTheta": "500000", "ropeScaling": {"kind": "Llama3", "factor": "8"}},
    "queryKeyNorm": "Head", "slidingWindow": 64, "embeddingNorm": True, "biases": "QueryKeyValue", "tiedEmbeddings": False,
    "dropout": "0.1", "initialization": {"kind": "FanIn"}, "logitSoftCap": "30",
}  # fmt: skip


def with_model(job: dict[str, Any], model: dict[str, Any]) -> dict[str, Any]:
    return changed(changed(job, "metadata.name", "other"), "spec.model", model | {"contextLength": 128})


@pytest.mark.parametrize("preset", [preset.value for preset in Preset])
def test_every_preset_is_accepted(preset: str, api: Api, demo_job: dict[str, Any]) -> None:
    assert api.direct.refusal(with_model(demo_job, {"preset": preset})) == ""


def test_an_architecture_with_every_field_is_accepted(api: Api, demo_job: dict[str, Any]) -> None:
    assert api.direct.refusal(with_model(demo_job, {"architecture": WHOLE})) == ""


@pytest.mark.parametrize("case", list(REFUSED))
def test_an_architecture_that_cannot_be_built_is_refused(case: str, api: Api, demo_job: dict[str, Any]) -> None:
    architecture, words = REFUSED[case]
    assert words in api.direct.refusal(with_model(demo_job, {"architecture": architecture}))


def test_a_size_is_for_auto_alone_and_one_of_two(api: Api, demo_job: dict[str, Any]) -> None:
    assert api.direct.refusal(with_model(demo_job, {"preset": "auto", "sizeFor": {"flops": "1e21"}})) == ""
    refusal = api.direct.refusal(with_model(demo_job, {"preset": "tiny", "sizeFor": {"tokens": 1000}}))
    assert "`sizeFor` needs `preset: auto`" in refusal
    both = with_model(demo_job, {"preset": "auto", "sizeFor": {"tokens": 1000, "flops": "1e21"}})
    assert "exactly one of `tokens` and `flops`" in api.direct.refusal(both)


def test_more_tokens_for_an_automatic_model_need_a_size_of_their_own(api: Api, demo_job: dict[str, Any]) -> None:
    automatic = changed(with_model(demo_job, {"preset": "auto"}), "metadata.name", "automatic")
    sized = changed(with_model(demo_job, {"preset": "auto", "sizeFor": {"tokens": 10**9}}), "metadata.name", "sized")
    for job in (automatic, sized):
        api.apply(job)
    assert "follows `training.tokens`" in api.direct.refusal(changed(automatic, "spec.training.tokens", 2_000_000))
    assert api.direct.refusal(changed(sized, "spec.training.tokens", 2_000_000)) == ""
