"""What the command line says to a manifest; `tests/api` holds verdict and words against the apiserver's own."""

import copy
from typing import Any

import pytest

from llmtrain.api import API_VERSION
from llmtrain.api.admission import ManifestError, admitted
from llmtrain.api.crd import SCHEMAS, schemas
from llmtrain.api.job import JobSpec
from llmtrain.api.pod import PodFields
from tests.unit.api.parsed import parse_manifest
from tests.unit.api.rich import applied, rich_spec

MISSING = object()


def job(spec: Any = None, **metadata: Any) -> dict[str, Any]:
    body = {"apiVersion": API_VERSION, "kind": "LLMTrainingJob", "metadata": {"name": "gpt"} | metadata}
    return body | {"spec": rich_spec() if spec is None else spec}


def changed(path: str, value: Any) -> dict[str, Any]:
    body: Any = copy.deepcopy(job())
    target = body
    *parents, last = path.split(".")
    for parent in parents:
        target = target[int(parent)] if isinstance(target, list) else target.setdefault(parent, {})
    if value is MISSING:
        del target[last]
    else:
        target[last] = value
    return dict(body)


def said(body: dict[str, Any]) -> list[str]:
    try:
        admitted(body)
    except ManifestError as error:
        return [str(cause) for cause in error.causes]
    return []


def test_what_is_let_in_has_its_defaults_but_not_inside_list_items() -> None:
    assert admitted(job())["spec"] == applied(rich_spec())


# As kube-apiserver v1.36 answered to the same bodies.
RECORDED: list[tuple[str, Any, list[str]]] = [
    ("spec.training.tokens", "1", ['spec.training.tokens: Invalid value: "string": spec.training.tokens in body must be of type integer: "string"']),
    ("spec.training.tokens", True, ['spec.training.tokens: Invalid value: "": spec.training.tokens in body must be of type int64: ""']),
    ("spec.training.tokens", MISSING, ["spec.training.tokens: Required value"]),
    ("spec.training.tokens", None, ["spec.training.tokens: Required value"]),
    ("spec.training.tokens", 0, [
        "spec.training.tokens: Invalid value: 0: spec.training.tokens in body should be greater than or equal to 1",
        "spec.training.phases: Invalid value: the tokens of `phases` must add up to `tokens`",
    ]),
    ("spec.evaluation.cluster.runDeadlineSeconds", 1e20, [
        'spec.evaluation.cluster.runDeadlineSeconds: Invalid value: "float64": spec.evaluation.cluster.runDeadlineSeconds in body must be of type int64: "float64"',
        '<nil>: Invalid value: "": Checked value must be of type integer with format int64 in spec.evaluation.cluster.runDeadlineSeconds',
        "spec.evaluation.cluster.runDeadlineSeconds: Invalid value: 1e+20: spec.evaluation.cluster.runDeadlineSeconds in body should be less than or equal to 3.1536e+08",
    ]),
    ("spec.suspend", 1, ['spec.suspend: Invalid value: "integer": spec.suspend in body must be of type boolean: "integer"']),
    ("spec.suspend", None, []),
    ("spec.budget", None, []),
    ("spec.budget", {"limitUsd": 5}, ['spec.budget.limitUsd: Invalid value: "integer": spec.budget.limitUsd in body must be of type string: "integer"']),
    ("spec.budget", {"limitUsd": "x" * 30}, ["spec.budget.limitUsd: Too long: may not be more than 24 bytes"]),
    ("spec.curation.sources", [], ["spec.curation.sources: Invalid value: 0: spec.curation.sources in body should have at least 1 items"]),
    ("spec.curation.sources", [None], ['spec.curation.sources[0]: Invalid value: "null": spec.curation.sources[0] in body must be of type object: "null"']),
    ("spec.curation.sources.0.format", "Pdf", [
        'spec.curation.sources[0].format: Unsupported value: "Pdf": supported values: "Auto", "Jsonl", "Parquet", "Text", "Html", "Warc", "Wet"'
    ]),
    ("spec.curation.sources.0.nope", 1, ['strict decoding error: unknown field "spec.curation.sources[0].nope"']),
    ("spec.nope", None, ['strict decoding error: unknown field "spec.nope"']),
    ("status", {"nope": 1}, ['strict decoding error: unknown field "status.nope"']),
    ("metadata.nope", 1, ['strict decoding error: unknown field "metadata.nope"']),
    ("metadata.labels", {"a": 1}, ["json: cannot unmarshal number into Go struct field ObjectMeta.labels of type string"]),
    ("metadata.annotations", [], ["json: cannot unmarshal array into Go struct field ObjectMeta.annotations of type map[string]string"]),
    ("metadata.labels", {"a": None}, []),
    ("metadata.name", MISSING, ["metadata.name: Required value: name or generateName is required"]),
    ("spec.pod.labels", {f"k{n}": "v" for n in range(40)}, ["spec.pod.labels: Too many: 40: must have at most 32 items"]),
    ("spec.pod.env", [{"name": "1A"}, {"name": "RAY_X"}], [
        "spec.pod.env[0].name: Invalid value: \"1A\": spec.pod.env[0].name in body should match '^[A-Za-z_][A-Za-z0-9_]*$'",
        "spec.pod.env[1].name: Invalid value: `name` must not start with 'LLMTRAIN_', 'RAY_', 'HOME'",
    ]),
    ("spec.storage.s3", {"bucket": "llm"}, ["spec.storage: Invalid value: exactly one of `s3` and `persistentVolumeClaim` must be set"]),
    ("spec.curation.deduplication", {"minHash": {"bands": 0}}, [
        "spec.curation.deduplication.minHash.bands: Invalid value: 0: spec.curation.deduplication.minHash.bands in body should be greater than or equal to 1",
        'spec.curation.deduplication.minHash: Invalid value: "object": modulus by zero evaluating rule: `permutations` must be a multiple of `bands`',
    ]),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value", "words"), RECORDED)
def test_it_says_what_the_apiserver_said(path: str, value: Any, words: list[str]) -> None:
    assert said(changed(path, value)) == words


@pytest.mark.parametrize("name", ["llama-3.1-8b", "7b", "x" * 41, "a-", "A", "-a", "a_b"])
def test_a_name_that_no_service_can_have_is_refused(name: str) -> None:
    assert any("must be a DNS-1035 label of no more than 40 characters" in line for line in said(job(name=name)))


def test_names_up_to_forty_characters_are_let_in() -> None:
    assert said(job(name="g" * 40)) == []


@pytest.mark.parametrize("metadata", [5, True, "a", [1]])
def test_metadata_that_is_no_object_is_refused_in_words(metadata: Any) -> None:
    assert any("cannot unmarshal" in line for line in said(job() | {"metadata": metadata}))


def test_a_generated_name_is_held_to_the_same_rule() -> None:
    for stem, good in (("run-", True), ("g" * 35, True), ("g" * 36, False), ("7b-", False)):
        assert (said(changed("metadata", {"generateName": stem})) == []) is good


KEYS = {
    "cluster-autoscaler.kubernetes.io/safe-to-evict": True, "karpenter.sh/do-not-disrupt": True,
    "kueue.x-k8s.io/queue-name": True, "scheduling.k8s.io/group-name": True, "sidecar.istio.io/inject": True,
    "linkerd.io/inject": True, "app.kubernetes.io/managed-by": True, "k8s.v1.cni.cncf.io/networks": True,
    "networking.gke.io/interfaces": True, "scheduling.volcano.sh/group-name": True, "team": True, "x" * 63: True,
    f"{'a' * 63}.{'b' * 63}.{'c' * 63}.{'d' * 61}/{'x' * 63}": True,
    "kubernetes.io/egress-bandwidth": False, "k8s.io/x": False, "llmtrain.dev/job": False, "sub.llmtrain.dev/x": False,
    "container.apparmor.security.beta.kubernetes.io/stage": False, "seccomp.security.alpha.kubernetes.io/pod": False,
    "x" * 64: False, "a/b/c": False, "a b": False, "/x": False, "x/": False, f"{'a' * 254}/x": False, "UPPER.io/x": False,
}  # fmt: skip


@pytest.mark.parametrize("field", ["labels", "annotations"])
@pytest.mark.parametrize("key", list(KEYS))
def test_which_keys_a_pod_may_carry(key: str, field: str) -> None:
    fields = {field: {key: "x"}}
    if KEYS[key]:
        found = parse_manifest(PodFields, fields)
        assert dict(getattr(found, field)) == {key: "x"}
    else:
        with pytest.raises(ManifestError, match=f"`{field}` must have qualified names as keys, outside of the domains"):
            parse_manifest(PodFields, fields)


def test_a_manifest_is_held_against_what_the_models_say_today() -> None:
    assert SCHEMAS.read_text(encoding="utf-8") == schemas()


def test_every_rule_says_the_same_of_a_default_that_is_written_and_one_that_is_left_out() -> None:
    """The apiserver fills in nothing inside list items; a rule that leans on a default there has to say so itself."""
    written = job(JobSpec.model_validate(rich_spec()).to_dict())
    assert said(written) == said(job()) == []
    for text in ("Rubric", "Pairwise"):
        task = {"name": "j", "judge": {"mode": text, "ratingsFile": "r.csv"}, "dataFile": "d"}
        spec = rich_spec()
        spec["evaluation"]["tasks"][2] = task
        assert bool(said(job(spec))) is (text == "Rubric")


def test_of_several_causes_each_has_a_line_and_the_file_is_named() -> None:
    with pytest.raises(ManifestError) as caught:
        admitted(changed("spec.training.tokens", 0))
    lines = str(caught.value.of("job.yaml")).splitlines()
    assert lines[0] == 'job.yaml: The LLMTrainingJob "gpt" is invalid:'
    assert [line[:7] for line in lines[1:]] == ["* spec."] * 2
