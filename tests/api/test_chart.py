"""The chart by real Helm: lint, schemas, what it refuses, and what the real apiserver says of what it renders."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from llmtrain_operator.helm import REVISIONS

from tests.api.conftest import Api
from tests.api.programs import CHART, run

pytestmark = pytest.mark.timeout(180)
DIGEST = "sha256:" + "0" * 64
EVERYTHING: dict[str, Any] = {
    "commonLabels": {"team": "ml"},
    "logFormat": "Json",
    "imagePullSecrets": [{"name": "registry"}],
    "metrics": {
        "service": {"annotations": {"a": "b"}},
        "serviceMonitor": {"enabled": True, "additionalLabels": {"release": "prometheus"}, "namespace": "monitoring"},
        "podMonitor": {
            "enabled": True,
            "relabelings": [{"action": "labeldrop", "regex": "pod"}],
            "metricRelabelings": [{"action": "drop", "sourceLabels": ["__name__"], "regex": "python_.*"}],
        },
        "prometheusRule": {"enabled": True, "alertLabels": {"team": "ml"}, "disabledAlerts": ["LLMTrainJobFailed"]},
    },
    "dashboards": {"enabled": True, "annotations": {"grafana_folder": "LLM training"}},
    "networkPolicy": {"enabled": True, "metricsFrom": [{"namespaceSelector": {}}], "extraEgress": [{}]},
    "podDisruptionBudget": {"enabled": True, "minAvailable": 0},
    "podAnnotations": {"a": "b"},
    "podLabels": {"a": "b"},
    "priorityClassName": "system-cluster-critical",
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "tolerations": [{"operator": "Exists"}],
    "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
    "topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"}
    ],
    "extraEnv": [{"name": "A", "value": "b"}],
    "extraVolumes": [{"name": "more", "emptyDir": {}}],
    "extraVolumeMounts": [{"name": "more", "mountPath": "/more"}],
}
MATRIX: dict[str, dict[str, Any]] = {
    "defaults": {},
    "everything": EVERYTHING,
    "other names": {"fullnameOverride": "x" * 63, "serviceAccount": {"name": "own"}, "image": {"digest": DIGEST}},
    "given account": {"serviceAccount": {"create": False}, "rbac": {"create": False}, "crds": {"enabled": False}},
    "two namespaces": {"watchNamespaces": ["a", "b"], "metrics": {"podMonitor": {"enabled": True}}},
    "crds not kept": {"crds": {"keep": False}, "uninstall": {"policy": "Delete"}},
    "nothing on uninstall": {"uninstall": {"policy": "Keep"}, "rbac": {"aggregateClusterRoles": False}},
    "user of the platform": {"podSecurityContext": {"runAsUser": None, "runAsGroup": None}},
    "paused, as a subchart": {"replicaCount": 0, "global": {"a": 1}, "enabled": True},
    "evictable": {"podDisruptionBudget": {"enabled": True, "maxUnavailable": "50%"}},
}
# path: (value, a word of the message beside the path)
REFUSED: dict[str, tuple[Any, str]] = {
    "replicaCount": (2, "must be one of 0, 1"),
    "image.pullPolicy": ("Sometimes", "'Always', 'IfNotPresent', 'Never'"),
    "image.digest": ("latest", "sha256"),
    "jobsImage": ("", "minLength"),
    "logFormat": ("Xml", "'Text', 'Json'"),
    "logLevel": ("LOUD", "'DEBUG', 'INFO', 'WARNING', 'ERROR'"),
    "crds.enabled": ("yes", "want boolean"),
    "uninstall.policy": ("Explode", "'Suspend', 'Delete', 'Keep'"),
    "uninstall.timeoutSeconds": (1, "minimum: got 1, want 10"),
    "metrics.port": (70000, "maximum"),
    "metrics.serviceMonitor.interval": ("soon", "does not match pattern"),
    "metrics.serviceMonitor.additionalLabels": ({"release": 5}, "want string"),
    "metrics.prometheusRule.disabledAlerts": (["Sleep"], "does not match pattern"),
    "networkPolicy.apiServerPorts": ([], "minItems"),
    "podDisruptionBudget.maxUnavailable": ("half", "anyOf"),
    "watchNamespaces": (["Team A"], "does not match pattern"),
    "resources.request": ({}, "additional properties 'request' not allowed"),
    "metrics.servicemonitor": ({}, "additional properties 'servicemonitor' not allowed"),
    "replicas": (1, "additional properties 'replicas' not allowed"),
}


RELEASE_NAMESPACE = "meta.helm.sh/release-namespace"
HELMS = ("helm", "helm3")


def rendered(helm: str, values: dict[str, Any]) -> str:
    command = ("template", "llmtrain", str(CHART), "-n", "llmtrain-system", "-f", "-")
    done = run(helm, *command, text=json.dumps(values))
    assert done.returncode == 0, done.stderr
    return done.stdout


def template(values: dict[str, Any]) -> list[dict[str, Any]]:
    return [body for body in yaml.safe_load_all(rendered("helm", values)) if body]


def one(objects: list[dict[str, Any]], kind: str, name: str = "") -> dict[str, Any]:
    return next(o for o in objects if o["kind"] == kind and name in o["metadata"]["name"])


def is_hook(body: dict[str, Any]) -> bool:
    return "helm.sh/hook" in body["metadata"].get("annotations", {})


def test_these_are_helm_4_and_helm_3() -> None:
    assert [run(helm, "version", "--template", "{{.Version}}").stdout[:2] for helm in HELMS] == ["v4", "v3"]


@pytest.mark.parametrize("helm", HELMS)
@pytest.mark.parametrize("case", list(MATRIX))
def test_helm_lint_finds_nothing(case: str, helm: str, tmp_path: Path) -> None:
    values = tmp_path / "values.json"
    values.write_text(json.dumps(MATRIX[case]))
    done = run(helm, "lint", "--strict", str(CHART), "-f", str(values))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("case", list(MATRIX))
def test_helm_3_renders_what_helm_4_renders(case: str) -> None:
    """Which kubeconform and the apiserver then judge once."""
    four, three = ({str(body): body for body in yaml.safe_load_all(rendered(helm, MATRIX[case]))} for helm in HELMS)
    assert three == four


@pytest.fixture(scope="session")
def schemas(api: Api, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The apiserver's own OpenAPI document as strict JSON schemas, with those of prometheus-operator beside them."""
    folder = tmp_path_factory.mktemp("schemas")
    document = json.loads(api.run("get", "--raw", "/openapi/v2").stdout)
    for definition in document["definitions"].values():
        if "properties" in definition:
            definition.setdefault("additionalProperties", False)
        if definition.get("format") == "int-or-string":
            definition["type"] = ["integer", "string"]
    (folder / "_definitions.json").write_text(json.dumps({"definitions": document["definitions"]}))
    for name, definition in document["definitions"].items():
        for kind in definition.get("x-kubernetes-group-version-kind", []):
            file = "-".join(
                part for part in (kind["kind"].lower(), kind["group"].split(".")[0], kind["version"]) if part
            )
            (folder / f"{file}.json").write_text(json.dumps({"$ref": f"_definitions.json#/definitions/{name}"}))
    for excerpt in (Path(__file__).parent / "schemas").glob("*.json"):
        (folder / excerpt.name).write_text(excerpt.read_text())
    return folder


@pytest.mark.parametrize("case", list(MATRIX))
def test_kubeconform_finds_nothing(case: str, schemas: Path) -> None:
    objects = template(MATRIX[case])
    where = f"{schemas}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"
    done = run("kubeconform", "-strict", "-schema-location", where, "-output", "json", "-summary", "-",
               text=yaml.safe_dump_all(objects))  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["summary"]["valid"] == len(objects)


def test_kubeconform_would_find_a_wrong_field(schemas: Path) -> None:
    where = f"{schemas}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"
    for kind, path in (("Deployment", ["spec", "template", "spec"]), ("ServiceMonitor", ["spec", "endpoints", "0"])):
        body = one(template(EVERYTHING), kind)
        target: Any = body
        for step in path:
            target = target[int(step)] if step.isdigit() else target[step]
        target["nonsense"] = 1
        done = run("kubeconform", "-strict", "-schema-location", where, "-", text=yaml.safe_dump(body))
        assert done.returncode != 0, kind


@pytest.mark.parametrize("helm", HELMS)
@pytest.mark.parametrize("path", list(REFUSED))
def test_a_wrong_value_is_refused_by_its_name(path: str, helm: str) -> None:
    value, word = REFUSED[path]
    values: Any = value
    for part in reversed(path.split(".")):
        values = {part: values}
    done = run(helm, "template", "llmtrain", str(CHART), "-f", "-", text=json.dumps(values))
    assert done.returncode != 0
    parent, _, last = path.rpartition(".")
    place = parent.replace(".", "/") if "additional" in word else f"{parent.replace('.', '/')}/{last}"
    assert place.strip("/") in done.stderr
    assert word in done.stderr


def test_an_alert_that_does_not_exist_cannot_be_disabled() -> None:
    rule = {"enabled": True, "disabledAlerts": ["LLMTrainNone"]}
    done = run("helm", "template", "x", str(CHART), "-f", "-", text=json.dumps({"metrics": {"prometheusRule": rule}}))
    assert "there is no alert" in done.stderr
    assert "LLMTrainOperatorDown" in done.stderr


def test_the_apiserver_takes_everything_and_enforces_restricted_pods(api: Api) -> None:
    """Server-side dry run of all core objects, in a namespace that admits restricted pods alone."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/warn": "restricted"}
    api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "llmtrain-system", "labels": labels}})
    for watched in ("a", "b"):
        api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": watched}})
    for case in ("defaults", "two namespaces", "user of the platform"):
        objects = [body for body in template(MATRIX[case]) if not body["apiVersion"].startswith("monitoring.")]
        # A pod is admitted only where its account exists.
        accounts = [body for body in objects if body["kind"] == "ServiceAccount"]
        for items, dry in ((accounts, []), (objects, ["--dry-run=server"])):
            body = {"apiVersion": "v1", "kind": "List", "items": items}
            done = api.run("apply", "--server-side", *dry, "--force-conflicts", "-f", "-", body=body)
            assert done.returncode == 0, done.stderr
            assert "would violate PodSecurity" not in done.stderr, done.stderr


def test_a_release_goes_from_helm_3_to_helm_4_and_back(api: Api) -> None:
    """Without a kubelet: what the apiserver stores, who owns which field, and that nothing of the release is left."""
    space, values = ["-n", "two-helms", "--kubeconfig", api.kubeconfig], ["--set", "crds.enabled=false"]
    levels = []
    for helm, level in (("helm3", "DEBUG"), ("helm", "WARNING"), ("helm3", "ERROR")):
        change = ["upgrade", "--install", "llmtrain", str(CHART), "--create-namespace", "--set", f"logLevel={level}"]
        done = run(helm, *change, *values, *space)
        assert done.returncode == 0, done.stderr
        container = api.get("deployment", "llmtrain-operator", "-n", "two-helms")["spec"]["template"]["spec"][
            "containers"
        ][0]
        levels += [each["value"] for each in container["env"] if each["name"] == "LLMTRAIN_LOG_LEVEL"]
    assert levels == ["DEBUG", "WARNING", "ERROR"]
    account = api.get("serviceaccount", "llmtrain-operator", "-n", "two-helms")
    assert account["metadata"]["annotations"][RELEASE_NAMESPACE] == "two-helms"
    assert run("helm", "uninstall", "llmtrain", "--no-hooks", *space).returncode == 0
    kinds = "deployments,services,serviceaccounts,roles,rolebindings,clusterroles,clusterrolebindings"
    # Helm writes the release's namespace on whatever it makes; other tests' objects are not of this release.
    metadata = [body["metadata"] for body in api.get(kinds, "-A")["items"]]
    left = [m["name"] for m in metadata if m.get("annotations", {}).get(RELEASE_NAMESPACE) == "two-helms"]
    assert left == []


def test_hooks_are_not_taken_for_the_operator() -> None:
    """Neither the metrics Service nor the PodDisruptionBudget may select a hook's pod."""
    objects = template(EVERYTHING)
    selector = one(objects, "Service")["spec"]["selector"]
    pods = [one(objects, "Job")["spec"]["template"]["metadata"], one(objects, "Pod")["metadata"]]
    for metadata in pods:
        assert not selector.items() <= metadata["labels"].items()


def test_an_operator_of_some_namespaces_uninstalls_with_rights_in_those_alone() -> None:
    hooks = [o for o in template({"watchNamespaces": ["a", "b"]}) if is_hook(o)]
    assert [o for o in hooks if o["kind"].startswith("Cluster")] == []
    roles = [
        o["metadata"]["namespace"] for o in hooks if o["kind"] == "Role" and o["metadata"]["name"].endswith("-jobs")
    ]
    assert roles == ["a", "b"]


def test_the_hook_may_read_helms_records_of_this_release_by_name_and_no_other_secret() -> None:
    """As many revisions as it looks through: a rollback brings the Role back under a later number."""
    hooks = [o for o in template({}) if is_hook(o) and o["kind"].endswith("Role")]
    rules = [rule for role in hooks for rule in role["rules"] if "secrets" in rule["resources"]]
    names = [f"sh.helm.release.v1.llmtrain.v{revision}" for revision in range(1, REVISIONS + 1)]
    assert [(rule["verbs"], rule["resourceNames"]) for rule in rules] == [(["get"], names)]
    assert all(
        role["kind"] == "Role" for role in hooks if any("secrets" in rule["resources"] for rule in role["rules"])
    )
    without = [o for o in template({"uninstall": {"onlyByHelm": False}}) if is_hook(o)]
    assert "secrets" not in json.dumps(without)


def test_whoever_edits_gets_jobs_but_neither_budgets_nor_plans_nor_status() -> None:
    granted: dict[str, set[tuple[str, str]]] = {"view": set(), "edit": set(), "admin": set()}
    for body in template({}):
        labels = body["metadata"].get("labels", {})
        for role, rights in granted.items():
            if body["kind"] == "ClusterRole" and labels.get(f"rbac.authorization.k8s.io/aggregate-to-{role}") == "true":
                rights |= {(r, v) for rule in body["rules"] for r in rule["resources"] for v in rule["verbs"]}
    reading = {"get", "list", "watch"}
    assert {verb for _, verb in granted["view"]} <= reading
    assert {resource for resource, verb in granted["edit"] if verb not in reading} == {"llmtrainingjobs"}
    assert {r for r, verb in granted["admin"] if verb not in reading} == {"llmtrainingjobs", "trainingbudgets"}
    assert ("llmtrainingjobs", "create") in granted["edit"]
    assert [b for b in template({"rbac": {"aggregateClusterRoles": False}}) if "aggregate" in str(b)] == []


def test_dashboards_are_verbatim() -> None:
    maps = [o for o in template(EVERYTHING) if o["metadata"].get("labels", {}).get("grafana_dashboard") == "1"]
    files = {file.name: file.read_text() for file in (CHART / "dashboards").glob("*.json")}
    assert len(files) == 4
    assert {name: text for body in maps for name, text in body["data"].items()} == files


def test_the_rule_object_holds_the_rules_less_what_is_disabled(tmp_path: Path) -> None:
    spec = one(template(EVERYTHING), "PrometheusRule")["spec"]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump(spec))
    assert run("promtool", "check", "rules", str(file)).returncode == 0
    source = yaml.safe_load((CHART / "files" / "rules.yaml").read_text())
    names = [r["alert"] for g in source["groups"] for r in g["rules"] if "alert" in r]
    rendered = {r["alert"]: r for g in spec["groups"] for r in g["rules"] if "alert" in r}
    assert set(names) - set(rendered) == {"LLMTrainJobFailed"}
    down = rendered["LLMTrainOperatorDown"]
    assert down["labels"] == {"severity": "critical", "team": "ml"}
    assert down["annotations"]["runbook_url"] == "docs/runbooks/LLMTrainOperatorDown.md"
    assert "{{ $labels.namespace }}" in rendered["LLMTrainStageStuck"]["annotations"]["description"]


def test_crds_are_kept_only_where_asked() -> None:
    def kept(values: dict[str, Any]) -> set[bool]:
        crds = [o for o in template(values) if o["kind"] == "CustomResourceDefinition"]
        return {"helm.sh/resource-policy" in (o["metadata"].get("annotations") or {}) for o in crds}

    assert kept({}) == {True}
    assert kept({"crds": {"keep": False}}) == {False}
    assert kept({"crds": {"enabled": False}}) == set()


def test_crds_are_small_enough_for_kubectl_apply() -> None:
    """kubectl keeps the whole object in an annotation, which may hold 262,144 bytes."""
    for body in template({}):
        if body["kind"] == "CustomResourceDefinition":
            assert len(json.dumps(body)) < 262_144, body["metadata"]["name"]


def test_the_notes_say_how_to_go_on_and_what_uninstalling_does() -> None:
    def notes(values: dict[str, Any]) -> str:
        done = run(
            "helm", "install", "llmtrain", str(CHART), "--dry-run=client", "-n", "s", "-f", "-", text=json.dumps(values)
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.split("NOTES:")[1]

    assert "helm test llmtrain -n s" in notes({})
    assert "suspends all jobs" in notes({})
    assert "EVERY job" in notes({"crds": {"keep": False}})
    assert "suspend them first" in notes({"uninstall": {"policy": "Keep"}})
