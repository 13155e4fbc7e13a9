"""What users may add to their pods. Everything else of a pod is the operator's and the plan's."""

from typing import Annotated, Any

from pydantic import Field

from llmtrain.api.base import Model, Rule, cel
from llmtrain.api.cluster import OBJECT_NAME, NamedRef

RESERVED_DOMAINS = ("llmtrain.dev", "kubernetes.io", "k8s.io")
RESERVED_FAMILIES = ("llmtrain.dev", "security.alpha.kubernetes.io", "security.beta.kubernetes.io")
"""Domains whose subdomains are reserved as well: our own, and those that once loosened a pod's security."""
RESERVED_VARIABLES = ("LLMTRAIN_", "RAY_", "HOME")

LabelValue = Annotated[str, Field(pattern=r"^([A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?)?$", max_length=63)]
AnnotationValue = Annotated[str, Field(max_length=1024)]
QUALIFIED_NAME = (
    r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$"
)


class Variable(Model):
    """An environment variable with a plain value."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=128)] = Field(description="Name.")
    value: Annotated[str, Field(max_length=4096)] = Field("", description="Value; `$(NAME)` is not expanded.")

    model_config = Model.model_config | {
        "json_schema_extra": cel(
            Rule(
                rule=" && ".join(f"!self.name.startsWith('{start}')" for start in RESERVED_VARIABLES),
                message=f"`name` must not start with {', '.join(f'{start!r}' for start in RESERVED_VARIABLES)}",
                field_path=".name",
            )
        )
    }


def _keys_rule(field: str) -> dict[str, Any]:
    """What keys may be. A map keeps the keys that it had before they were refused."""
    parts = ["k.matches('^([^/]{1,253}/)?[^/]{1,63}$')", f"k.matches('{QUALIFIED_NAME}')"]
    parts += [f"!k.startsWith('{domain}/')" for domain in RESERVED_DOMAINS]
    parts += [f"!k.contains('.{domain}/')" for domain in RESERVED_FAMILIES]
    families = ", ".join(f"'*.{domain}'" for domain in RESERVED_FAMILIES)
    rule = Rule(
        rule=f"self.all(k, (oldSelf.hasValue() && k in oldSelf.value()) || ({' && '.join(parts)}))",
        message=f"`{field}` must have qualified names as keys, outside of the domains "
        f"{', '.join(f'{domain!r}' for domain in RESERVED_DOMAINS)}, {families}; a prefix has up to 253 characters, "
        "the name behind it up to 63",
        optional_old_self=True,
    )
    return cel(rule)


class PodFields(Model):
    """Additions to every pod of the job."""

    labels: Annotated[dict[str, LabelValue], Field(max_length=32)] = Field(
        {}, description="Labels.", json_schema_extra=_keys_rule("labels")
    )
    annotations: Annotated[dict[str, AnnotationValue], Field(max_length=32)] = Field(
        {},
        description="Annotations. Sidecars are not injected (Istio, Linkerd, Kuma, Consul, OpenTelemetry) and autoscalers "
        "leave the pods in peace unless the mesh's or autoscaler's own key is set here or in `labels`.",
        json_schema_extra=_keys_rule("annotations"),
    )
    env: Annotated[list[Variable], Field(max_length=64)] = Field([], description="Environment variables.")
    priority_class_name: Annotated[str, Field(pattern=r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$", max_length=253)] = Field(
        "",
        description="PriorityClass; empty: the cluster's default. 'system-' classes are not allowed.",
        json_schema_extra=cel(OBJECT_NAME.model_copy(update={"rule": f"self == '' || {OBJECT_NAME.rule}"})),
    )
    image_pull_secrets: Annotated[list[NamedRef], Field(max_length=8)] = Field(
        [], description="Secrets of the job's namespace with registry credentials."
    )

    model_config = Model.model_config | {
        "json_schema_extra": cel(
            Rule(
                rule="!self.priorityClassName.startsWith('system-')",
                message="`priorityClassName` must not start with 'system-'",
                field_path=".priorityClassName",
            ),
        )
    }
