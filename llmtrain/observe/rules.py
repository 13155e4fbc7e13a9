"""Recording rules and alerts. Names of recording rules are level:metric:operations; alerts are few and about symptoms."""

from dataclasses import dataclass
from typing import Any

LEDGER = "namespace, name, stage, role, plan, tenure"
JOB = "namespace, name"


@dataclass(frozen=True)
class Recording:
    """A series that is worked out once for all who read it."""

    record: str
    expr: str

    def to_dict(self) -> dict[str, Any]:
        """Prometheus' form."""
        return {"record": self.record, "expr": self.expr}


@dataclass(frozen=True)
class Alert:
    """Something that a person would want to be told; `summary` is fixed, `description` names the object."""

    name: str
    expr: str
    wait: str
    severity: str
    summary: str
    description: str

    def to_dict(self) -> dict[str, Any]:
        """Prometheus' form."""
        annotations = {
            "summary": self.summary,
            "description": self.description,
            "runbook_url": f"RUNBOOK_URL/{self.name}.md",
        }
        head = {"alert": self.name, "expr": self.expr, "for": self.wait}
        return {**head, "labels": {"severity": self.severity}, "annotations": annotations}


def _sum(metric: str, by: str) -> str:
    return f"sum by ({by}) ({metric})"


MONEY_RULES = (
    Recording("namespace_name_stage_role:llmtrain_job_pod_hours:sum", _sum("llmtrain_job_pod_seconds_total", LEDGER) + " / 3600"),
    Recording("namespace_name_stage_role:llmtrain_job_accelerator_hours:sum", _sum("llmtrain_job_accelerator_seconds_total", LEDGER) + " / 3600"),
    Recording(
        "namespace_name_stage_role:llmtrain_job_usd_per_pod_hour:ratio",
        f"{_sum('llmtrain_job_cost_usd_total', LEDGER)} / (namespace_name_stage_role:llmtrain_job_pod_hours:sum > 0)",
    ),
    Recording("namespace_name:llmtrain_job_cost_usd:sum", _sum("llmtrain_job_cost_usd_total", JOB)),
    Recording("namespace_name:llmtrain_job_pod_hours:sum", _sum("llmtrain_job_pod_seconds_total", JOB) + " / 3600"),
    Recording(
        "namespace_name:llmtrain_job_usd_per_pod_hour:ratio",
        "namespace_name:llmtrain_job_cost_usd:sum / (namespace_name:llmtrain_job_pod_hours:sum > 0)",
    ),
    Recording(
        "namespace_name:llmtrain_job_waste_per_cost:ratio",
        f"{_sum('llmtrain_job_waste_usd_total', JOB)} / (namespace_name:llmtrain_job_cost_usd:sum > 0)",
    ),
    Recording("namespace_name:llmtrain_job_goodput_of_dollars:ratio", "1 - namespace_name:llmtrain_job_waste_per_cost:ratio"),
    Recording("namespace:llmtrain_job_usd_per_hour:sum", _sum("llmtrain_job_usd_per_hour", "namespace")),
    Recording("namespace_name:llmtrain_job_accelerators:rate5m", _sum("rate(llmtrain_job_accelerator_seconds_total[5m])", JOB)),
)  # fmt: skip

BUDGET = "namespace, budget"
BUDGET_SHARE = f"llmtrain_budget_spent_usd / on ({BUDGET}) (sum by ({BUDGET}) (llmtrain_budget_limit_usd) > 0)"
ENDED = 'llmtrain_job_condition{condition="Succeeded", status=~"True|False"} == 1'
SUSPENDED = 'llmtrain_job_condition{condition="Suspended", status="True"} == 1'
WHO = "{{ $labels.namespace }}/{{ $labels.name }}"

OPERATOR_ALERTS = (
    Alert(
        "LLMTrainOperatorDown",
        "absent(llmtrain_operator_build_info)",
        "5m",
        "critical",
        "The operator is not scraped: nothing is taken down, budgets are not enforced.",
        "Prometheus has no llmtrain_operator_build_info. Running pods go on and are billed until maxPodLifetimeSeconds.",
    ),
    Alert(
        "LLMTrainOperatorStuck",
        "time() - max(llmtrain_operator_last_success_timestamp_seconds) > 300 "
        'and on () count(llmtrain_job_info{state=~"Pending|Running|Stopping|Deleting"}) > 0',
        "5m",
        "critical",
        "The operator answers but no turn succeeds, while jobs are under way.",
        "The last turn that succeeded was {{ $value | humanizeDuration }} ago.",
    ),
    Alert(
        "LLMTrainReconcileErrors",
        "sum(rate(llmtrain_operator_reconcile_errors_total[10m])) / sum(rate(llmtrain_operator_reconcile_total[10m])) > 0.1",
        "15m",
        "warning",
        "More than a tenth of the operator's turns end in an error.",
        "{{ $value | humanizePercentage }} of the turns of the last 10 minutes failed; the log says why.",
    ),
    Alert(
        "LLMTrainLedgerNotWritten",
        'sum(rate(llmtrain_operator_api_requests_total{verb="PUT", code!~"2..|404|409"}[10m])) > 0',
        "10m",
        "critical",
        "Bills cannot be written, so pods that have ended cannot be released.",
        "The apiserver refuses or fails writes of statuses and ledgers ({{ $value | printf `%.2f` }} a second).",
    ),
    Alert(
        "LLMTrainJobNotBooked",
        "increase(llmtrain_operator_unbooked_jobs_total[1h]) > 0",
        "0m",
        "critical",
        "A deleted job was let go and its bill is in no ledger.",
        "{{ $value | printf `%.0f` }} deleted jobs of the last hour are in no ledger; their bills are in the operator's log.",
    ),
)

JOB_ALERTS = (
    Alert(
        "LLMTrainForecastBeyondBudget",
        f'llmtrain_job_forecast_usd{{percentile="50"}} > on ({JOB}) group_left () llmtrain_job_budget_usd '
        f"unless on ({JOB}) ({ENDED})",
        "10m",
        "warning",
        "A job will more likely than not exceed its budget.",
        f"{WHO} is forecast to cost ${{{{ $value | printf `%.2f` }}}}, more than its budget allows.",
    ),
    Alert(
        "LLMTrainBudgetNearlySpent",
        f"(namespace_name:llmtrain_job_cost_usd:sum / on ({JOB}) llmtrain_job_budget_usd) > 0.9 "
        f"and on ({JOB}) llmtrain_job_usd_per_hour > 0",
        "1m",
        "warning",
        "A running job has spent nine tenths of its budget.",
        f"{WHO} has spent {{{{ $value | humanizePercentage }}}} of its budget and is about to be stopped.",
    ),
    Alert(
        "LLMTrainTeamBudgetNearlySpent",
        f"({BUDGET_SHARE} > 0.9) or ({BUDGET_SHARE} and on ({BUDGET}) "
        'llmtrain_budget_condition{condition="BelowWarning", status="False"} == 1)',
        "1m",
        "warning",
        "A TrainingBudget is nine tenths spent, or beyond a share at which its owner wants to be told.",
        "{{ $labels.namespace }}/{{ $labels.budget }} is {{ $value | humanizePercentage }} spent in this period; "
        "jobs that would exceed it are stopped.",
    ),
    Alert(
        "LLMTrainAcceleratorsIdle",
        f'sum by ({JOB}) (rate(llmtrain_job_accelerator_seconds_total{{stage="Training"}}[10m])) > 0 '
        f"and on ({JOB}) sum by ({JOB}) (rate(llmtrain_train_tokens_total[10m])) == 0",
        "10m",
        "critical",
        "Accelerators are billed but train nothing.",
        f"{WHO} is billed for {{{{ $value | printf `%.2f` }}}} accelerators, and no token was trained on for 10 minutes.",
    ),
    Alert(
        "LLMTrainMoneyWasted",
        f"sum by ({JOB}) (rate(llmtrain_job_waste_usd_total[30m])) "
        f"/ on ({JOB}) (sum by ({JOB}) (rate(llmtrain_job_cost_usd_total[30m])) > 0) > 0.5",
        "30m",
        "warning",
        "More than half of what a job costs is not work.",
        f"{{{{ $value | humanizePercentage }}}} of what {WHO} cost in the last 30 minutes was waste.",
    ),
    Alert(
        "LLMTrainStageStuck",
        f'llmtrain_job_condition{{condition="Progressing", status="False"}} == 1 '
        f"unless on ({JOB}) ({SUSPENDED} or {ENDED})",
        "30m",
        "warning",
        "A job has not been making progress for half an hour.",
        f"{WHO} waits; status.waiting says for what, and what is paid for meanwhile: kubectl describe llmjob -n {{{{ $labels.namespace }}}} {{{{ $labels.name }}}}.",
    ),
    Alert(
        "LLMTrainReconcileBlocked",
        'llmtrain_job_condition{condition="ReconcileBlocked", status="True"} == 1',
        "10m",
        "warning",
        "The apiserver has refused something that a job needs for ten minutes.",
        f"{WHO}: condition ReconcileBlocked has the apiserver's words: "
        "kubectl describe llmjob -n {{ $labels.namespace }} {{ $labels.name }}.",
    ),
    Alert(
        "LLMTrainChangePending",
        'llmtrain_job_condition{condition="UpToDate", status="False"} == 1',
        "6h",
        "warning",
        "A job has run for six hours on a manifest or plan that was changed since.",
        f"{WHO}: condition UpToDate says what was changed and waits for the next attempt: "
        "kubectl describe llmjob -n {{ $labels.namespace }} {{ $labels.name }}.",
    ),
    Alert(
        "LLMTrainNodeClockOff",
        'llmtrain_job_condition{condition="ClockSkewed", status="True"} == 1',
        "0m",
        "warning",
        "The clock of a node is off, and bills of pods there are bounded.",
        f"{WHO}: condition ClockSkewed names the node: "
        "kubectl describe llmjob -n {{ $labels.namespace }} {{ $labels.name }}.",
    ),
    Alert(
        "LLMTrainClusterNotTornDown",
        f"llmtrain_job_usd_per_hour > 0 and on ({JOB}) ({SUSPENDED} or {ENDED})",
        "10m",
        "critical",
        "Pods of a suspended or ended job are still billed.",
        f"{WHO} should have no pod, and burns ${{{{ $value | printf `%.2f` }}}} an hour.",
    ),
    Alert(
        "LLMTrainJobFailed",
        'llmtrain_job_condition{condition="Succeeded", status="False"} == 1',
        "1m",
        "warning",
        "A job failed.",
        f"{WHO} failed; its condition Succeeded says why and what to change.",
    ),
    Alert(
        "LLMTrainPriceMissing",
        f"sum by ({JOB}, plan) (rate(llmtrain_job_accelerator_seconds_total[10m])) > 0 "
        f"unless on ({JOB}, plan) sum by ({JOB}, plan) (rate(llmtrain_job_cost_usd_total[10m])) > 0",
        "10m",
        "warning",
        "Accelerators are used at a price of nothing.",
        f"{WHO} uses accelerators of plan {{{{ $labels.plan }}}}, which has no price; its bill is too low.",
    ),
)

ALERTS = (*OPERATOR_ALERTS, *JOB_ALERTS)


def groups() -> list[dict[str, Any]]:
    """All groups, recording rules first: the alerts rest on them."""
    named = (("llmtrain-money", MONEY_RULES), ("llmtrain-operator", OPERATOR_ALERTS), ("llmtrain-jobs", JOB_ALERTS))
    return [{"name": name, "rules": [rule.to_dict() for rule in rules]} for name, rules in named]
