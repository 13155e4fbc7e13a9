"""How KWOK plays the pods of a job: they start, the head works and ends well, what is asked to stop stops.

No stage touches finalizers: KWOK's own pod-delete empties them, and with them the bill.
"""

import json
from dataclasses import dataclass

RESULTS = {
    "Preflight": {"outcome": "Succeeded", "message": "nothing exists yet"},
    "Curation": {"outcome": "Succeeded", "artifact": "c1", "workingSeconds": 1},
    "Training": {"outcome": "Succeeded", "artifact": "t1", "workingSeconds": 1},
    "Evaluation": {"outcome": "Succeeded", "artifact": "e1", "workingSeconds": 1},
}
INTERRUPTED = {"outcome": "Failed", "failureClass": "Interrupted", "reason": "Interrupted", "message": "saved"}


Expression = tuple[str, str, list[str]]
NOT_YET: list[Expression] = [(".metadata.deletionGracePeriodSeconds | tostring", "NotIn", ["0"])]
"""The kubelet's last delete sets the grace period to nothing; then only finalizers keep the object. KWOK compares no number."""


JOINED = "test/workers-joined"
"""Annotation of a head whose workers are there; before that it would wait for them."""
POD_ADDRESS = "test.example/pod-address"
"""Annotation with the address that a pod is said to have."""
STAGE_RUNS: Expression = (
    '.status.containerStatuses.[] | select( .name == "stage" ) | .state.running.startedAt',
    "Exists",
    [],
)


@dataclass(frozen=True)
class Timing:
    """Milliseconds. `work` None: heads work for ever; `preflight` then says when that of preflight, alone, is done."""

    start: int = 300
    work: int | None = 1200
    stop: int = 300
    preflight: int | None = None


def render(timing: Timing, nodes: int) -> str:
    """The `--config` file of kwok."""
    parts = [_kubelets(nodes), _node_ready(), _ready(timing.start), _stopped(timing.stop), _never_started(), _gone()]
    if timing.work is not None:
        joined = f'.metadata.annotations["{JOINED}"]'
        parts.append(_finished("head-finished", timing.work, (joined, "Exists", [])))
    if timing.preflight is not None:
        preflight = ('.metadata.labels["llmtrain.dev/stage"]', "In", ["Preflight"])
        parts.append(_finished("preflight-finished", timing.preflight, preflight))
    return "---\n".join(parts)


def _kubelets(nodes: int) -> str:
    """Each node has a kubelet of its own: KWOK by itself plays four pods at a time, however many nodes there are.

    Who says one of these numbers must say all of them; the others are KWOK's own.
    """
    options = {"podPlayStageParallelism": nodes, "nodePlayStageParallelism": 4, "nodeLeaseParallelism": 4}
    options["podsOnNodeSyncParallelism"] = 1
    head = {"apiVersion": "config.kwok.x-k8s.io/v1alpha1", "kind": "KwokConfiguration"}
    return json.dumps({**head, "options": options}) + "\n"


def _stage(name: str, expressions: list[Expression], delay: int, following: str, kind: str = "Pod") -> str:
    rules = [{"key": key, "operator": operator} | ({"values": values} if values else {})
             for key, operator, values in expressions]  # fmt: skip
    spec = {"resourceRef": {"apiGroup": "v1", "kind": kind}, "selector": {"matchExpressions": rules}}
    head = {"apiVersion": "kwok.x-k8s.io/v1alpha1", "kind": "Stage", "metadata": {"name": name}}
    lines = [f"{key}: {json.dumps(value)}" for key, value in head.items()]
    lines += ["spec:", *(f"  {key}: {json.dumps(value)}" for key, value in spec.items())]
    lines += ["  delay:", f"    durationMilliseconds: {delay}", following]
    return "\n".join(lines) + "\n"


def _template(text: str) -> str:
    indented = "\n".join(f"      {line}" for line in text.strip("\n").splitlines())
    return f"  next:\n    statusTemplate: |\n{indented}"


def _node_ready() -> str:
    text = """
{{ $now := Now }}
conditions:
- type: Ready
  status: "True"
  reason: KubeletReady
  message: ""
  lastHeartbeatTime: {{ $now | Quote }}
  lastTransitionTime: {{ $now | Quote }}
addresses:
- {type: InternalIP, address: 127.0.0.1}
"""
    expressions: list[Expression] = [
        ('.status.conditions.[] | select( .type == "Ready" ) | .status', "NotIn", ["True"]),
    ]
    return _stage("node-ready", expressions, 0, _template(text), kind="Node")


def _ready(delay: int) -> str:
    text = """
{{ $now := Now }}
conditions:
- {type: Initialized, status: "True", lastTransitionTime: {{ $now | Quote }}}
- {type: Ready, status: "True", lastTransitionTime: {{ $now | Quote }}}
- {type: ContainersReady, status: "True", lastTransitionTime: {{ $now | Quote }}}
containerStatuses:
{{ range .spec.containers }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  imageID: ""
  ready: true
  restartCount: 0
  state: {running: {startedAt: {{ $now | Quote }}}}
{{ end }}
{{ if .spec.initContainers }}
initContainerStatuses:
{{ range .spec.initContainers }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  imageID: ""
  ready: true
  restartCount: 0
  {{ if .restartPolicy }}
  state: {running: {startedAt: {{ $now | Quote }}}}
  {{ else }}
  state: {terminated: {exitCode: 0, reason: Completed, startedAt: {{ $now | Quote }}, finishedAt: {{ $now | Quote }}}}
  {{ end }}
{{ end }}
{{ end }}
hostIP: 127.0.0.1
podIP: {{ or (index (or .metadata.annotations dict) "test.example/pod-address") "127.0.0.1" | Quote }}
phase: Running
startTime: {{ $now | Quote }}
"""
    expressions: list[Expression] = [
        (".metadata.deletionTimestamp", "DoesNotExist", []),
        (".status.podIP", "DoesNotExist", []),
    ]
    return _stage("pod-ready", expressions, delay, _template(text))


def _ended(code: str, message: str, phase: str, all_containers: bool) -> str:
    """Containers that run end: `stage` with this code and message, the others, where they end too, by SIGKILL."""
    ends = "true" if all_containers else '(eq $item.name "stage")'
    return _template(f"""
{{{{ $now := Now }}}}
{{{{ $root := . }}}}
containerStatuses:
{{{{ range $index, $item := .spec.containers }}}}
{{{{ $before := index $root.status.containerStatuses $index }}}}
- name: {{{{ $item.name | Quote }}}}
  image: {{{{ $item.image | Quote }}}}
  imageID: ""
  ready: false
  restartCount: 0
  {{{{ if and $before.state.running {ends} }}}}
  state:
    terminated:
      exitCode: {{{{ if eq $item.name "stage" }}}} {code} {{{{ else }}}} 137 {{{{ end }}}}
      reason: {{{{ if eq {code} 0 }}}} Completed {{{{ else }}}} Error {{{{ end }}}}
      startedAt: {{{{ $before.state.running.startedAt | Quote }}}}
      finishedAt: {{{{ $now | Quote }}}}
      {{{{ if eq $item.name "stage" }}}}
      message: {message}
      {{{{ end }}}}
  {{{{ else }}}}
  state: {{{{ toJson $before.state }}}}
  {{{{ end }}}}
{{{{ end }}}}
{_ENDED_INIT if all_containers else ""}
phase: {phase}
""")


_ENDED_INIT = """{{ if .status.initContainerStatuses }}
initContainerStatuses:
{{ range .status.initContainerStatuses }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  imageID: ""
  ready: false
  restartCount: 0
  {{ if .state.running }}
  state:
    terminated:
      exitCode: 0
      reason: Completed
      startedAt: {{ .state.running.startedAt | Quote }}
      finishedAt: {{ $now | Quote }}
  {{ else }}
  state: {{ toJson .state }}
  {{ end }}
{{ end }}
{{ end }}"""
"""Native sidecars end with the pod."""


def _finished(name: str, delay: int, when: Expression) -> str:
    label = 'index $root.metadata.labels "llmtrain.dev/stage"'
    choices = "".join(
        f"{{{{ if eq ({label}) {json.dumps(stage)} }}}}{json.dumps(json.dumps(result))}{{{{ end }}}}"
        for stage, result in RESULTS.items()
    )
    expressions: list[Expression] = [
        (".metadata.deletionTimestamp", "DoesNotExist", []),
        (".status.phase", "In", ["Running"]),
        ('.metadata.labels["llmtrain.dev/role"]', "In", ["head"]),
        STAGE_RUNS,
        when,
    ]
    # A container beside it runs on, and with it the pod; a native sidecar ends with the last container.
    beside = "(or (gt (len .spec.containers) 1) .spec.initContainers)"
    phase = f"{{{{ if {beside} }}}}Running{{{{ else }}}}Succeeded{{{{ end }}}}"
    return _stage(name, expressions, delay, _ended("0", choices, phase, all_containers=False))


def _stopped(delay: int) -> str:
    expressions: list[Expression] = [
        (".metadata.deletionTimestamp", "Exists", []),
        (".status.phase", "In", ["Running"]),
    ]
    return _stage(
        "pod-stopped",
        expressions,
        delay,
        _ended("75", json.dumps(json.dumps(INTERRUPTED)), "Failed", all_containers=True),
    )


def _never_started() -> str:
    expressions: list[Expression] = [
        (".metadata.deletionTimestamp", "Exists", []),
        (".status.podIP", "DoesNotExist", []),
        *NOT_YET,
    ]
    return _stage("pod-never-started", expressions, 0, "  next:\n    delete: true")


def _gone() -> str:
    expressions: list[Expression] = [
        (".metadata.deletionTimestamp", "Exists", []),
        (".status.phase", "In", ["Succeeded", "Failed"]),
        *NOT_YET,
    ]
    return _stage("pod-gone", expressions, 0, "  next:\n    delete: true")
