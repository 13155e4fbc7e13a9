"""The four dashboards: Fleet, Job, Rent or own, Operator."""

from llmtrain.observe.panels import JOB, NAMESPACE, Dashboard, Panel, Query, Row, Variable

NS = 'namespace=~"$namespace"'
ONE = 'namespace=~"$namespace", name="$name"'
BUDGET_SPENT = f"llmtrain_budget_spent_usd{{{NS}}}"
BUDGET_LIMIT = f"on (namespace, budget) (sum by (namespace, budget) (llmtrain_budget_limit_usd{{{NS}}}) > 0)"
PERIOD_COST = f"max by (namespace, month) (llmtrain_namespace_period_cost_usd{{{NS}}})"
"""A month of a namespace, once, also while an operator is replaced and both are scraped."""
LEDGER_TABLE = (
    ("namespace", "namespace"),
    ("name", "job"),
    ("stage", "stage"),
    ("role", "role"),
    ("plan", "plan"),
    ("tenure", "tenure"),
)


def _now(expr: str, legend: str = "") -> Query:
    return Query(expr, legend, instant=True)


def _cell(expr: str) -> Query:
    return Query(expr, instant=True, table=True)


def _stat(title: str, description: str, unit: str, expr: str, width: int = 4, decimals: int | None = None) -> Panel:
    return Panel("stat", title, description, unit, (Query(expr),), width, 4, decimals)


def _quantiles(title: str, description: str, histogram: str) -> Panel:
    rates = f"sum by (le) (rate({histogram}_bucket[$__rate_interval]))"
    queries = tuple(Query(f"histogram_quantile({q}, {rates})", f"p{q}") for q in ("0.5", "0.99"))
    return Panel("timeseries", title, description, "s", queries, 12)


FLEET = Dashboard(
    "llmtrain-fleet",
    "LLM training / Fleet",
    "What all jobs cost and do. What a calendar month cost comes from the ledger, whatever the time range.",
    (NAMESPACE,),
    (
        Row(
            "Money",
            (
                Panel(
                    "stat",
                    "Spent by calendar month",
                    "This month and the last, UTC, as llmtrain cost --month has them, however long Prometheus has been there.",
                    "currencyUSD",
                    (_now(f"sum by (month) ({PERIOD_COST})", "{{month}}"),),
                    6,
                    4,
                    2,
                ),
                _stat("Burn rate", "US dollars an hour of all pods that are billed now.", "currencyUSD",
                      f"sum(llmtrain_job_usd_per_hour{{{NS}}})", 6, 2),
                _stat("Waste", "Share of what the jobs shown cost that was not work.", "percentunit",
                      f"sum(llmtrain_job_waste_usd_total{{{NS}}}) / (sum(llmtrain_job_cost_usd_total{{{NS}}}) > 0)", 6, 1),
                _stat("Accelerators billed", "Accelerators of pods that are billed, over five minutes.", "none",
                      f"sum(namespace_name:llmtrain_job_accelerators:rate5m{{{NS}}})", 6, 1),
                Panel("timeseries", "Burn by namespace", "US dollars an hour.", "currencyUSD",
                      (Query(f"namespace:llmtrain_job_usd_per_hour:sum{{{NS}}}", "{{namespace}}"),), 12, stacked=True),
                Panel("timeseries", "Cost by job", "What each job has cost so far, from its ledger.", "currencyUSD",
                      (Query(f"namespace_name:llmtrain_job_cost_usd:sum{{{NS}}}", "{{namespace}}/{{name}}"),), 12),
                Panel(
                    "bargauge",
                    "Budget spent",
                    "Cost of each job as a share of its budget.",
                    "percentunit",
                    (_now(f"namespace_name:llmtrain_job_cost_usd:sum{{{NS}}} / on (namespace, name) llmtrain_job_budget_usd",
                          "{{namespace}}/{{name}}"),),
                    8,
                ),
                Panel("bargauge", "Spent by namespace and month", "As the ledger has it: each month as it was last told in the time range.",
                      "currencyUSD", (Query(PERIOD_COST, "{{namespace}} {{month}}"),), 8, decimals=2),
                Panel("timeseries", "Spend by namespace", "Cumulative, beyond the jobs' lives.", "currencyUSD",
                      (Query(f"sum by (namespace) (llmtrain_namespace_cost_usd_total{{{NS}}})", "{{namespace}}"),), 8),
            ),
        ),
        Row(
            "Budgets of namespaces",
            (
                Panel(
                    "bargauge",
                    "TrainingBudgets used",
                    "Share of each TrainingBudget's limit that is spent in this period, and with what jobs have reserved.",
                    "percentunit",
                    (
                        _now(f"{BUDGET_SPENT} / {BUDGET_LIMIT}", "{{namespace}}/{{budget}} spent"),
                        _now(f"({BUDGET_SPENT} + on (namespace, budget) llmtrain_budget_reserved_usd) / {BUDGET_LIMIT}",
                             "{{namespace}}/{{budget}} spent and reserved"),
                    ),
                    8,
                ),
                Panel("timeseries", "Spent of the TrainingBudgets", "In the current period; a new one begins at nothing.",
                      "currencyUSD", (Query(BUDGET_SPENT, "{{namespace}}/{{budget}}"),), 8),
                Panel(
                    "table",
                    "TrainingBudgets",
                    "What a namespace's jobs may cost in a period, what they have spent and reserved, and what is left.",
                    "none",
                    (
                        _cell(f"sum by (namespace, budget, period) (llmtrain_budget_limit_usd{{{NS}}})"),
                        _cell(f"sum by (namespace, budget) ({BUDGET_SPENT})"),
                        _cell(f"sum by (namespace, budget) (llmtrain_budget_reserved_usd{{{NS}}})"),
                        _cell(f"sum by (namespace, budget) (llmtrain_budget_limit_usd{{{NS}}}) "
                              f"- on (namespace, budget) {BUDGET_SPENT} - on (namespace, budget) llmtrain_budget_reserved_usd"),
                    ),
                    8,
                    columns=(("namespace", "namespace"), ("budget", "budget"), ("period", "period"), ("Value #A", "limit"),
                             ("Value #B", "spent"), ("Value #C", "reserved"), ("Value #D", "left")),
                    units=tuple((name, "currencyUSD") for name in ("limit", "spent", "reserved", "left")),
                ),
            ),
        ),
        Row(
            "Jobs",
            (
                Panel("timeseries", "Jobs by state", "Jobs that the operator knows.", "none",
                      (Query(f"count by (state) (llmtrain_job_info{{{NS}}})", "{{state}}"),), 8, stacked=True),
                Panel("timeseries", "Accelerators billed, by job", "Averaged over five minutes.", "none",
                      (Query(f"namespace_name:llmtrain_job_accelerators:rate5m{{{NS}}}", "{{namespace}}/{{name}}"),), 8,
                      stacked=True),
                Panel(
                    "timeseries",
                    "Accelerators billed while no token is trained on",
                    "Training's accelerators where llmtrain_train_tokens_total stands still. Needs the PodMonitor.",
                    "none",
                    (Query(
                        f'sum by (namespace, name) (rate(llmtrain_job_accelerator_seconds_total{{{NS}, stage="Training"}}[5m])) '
                        f"and on (namespace, name) sum by (namespace, name) (rate(llmtrain_train_tokens_total{{{NS}}}[5m])) == 0",
                        "{{namespace}}/{{name}}"),),
                    8,
                ),
                Panel(
                    "table",
                    "Jobs",
                    "Stage, state, cost and price of a pod-hour of every job.",
                    "none",
                    (
                        _cell(f"llmtrain_job_info{{{NS}}}"),
                        _cell(f"namespace_name:llmtrain_job_cost_usd:sum{{{NS}}}"),
                        _cell(f"namespace_name:llmtrain_job_pod_hours:sum{{{NS}}}"),
                        _cell(f"namespace_name:llmtrain_job_usd_per_pod_hour:ratio{{{NS}}}"),
                    ),
                    24,
                    columns=(("namespace", "namespace"), ("name", "job"), ("stage", "stage"), ("state", "state"),
                             ("Value #B", "cost"), ("Value #C", "pod-hours"), ("Value #D", "USD per pod-hour")),
                    units=(("cost", "currencyUSD"), ("USD per pod-hour", "currencyUSD")),
                ),
            ),
        ),
    ),
    "now/M",
)  # fmt: skip

ONE_JOB = Dashboard(
    "llmtrain-job",
    "LLM training / Job",
    "One job: its stages in time, its bill by pod-hour, its forecast against its budget, its learning.",
    (NAMESPACE, JOB),
    (
        Row(
            "Bill",
            (
                _stat("Cost", "Owed for certain: what is settled, and what pods alive owe at least. It never falls.", "currencyUSD",
                      f"namespace_name:llmtrain_job_cost_usd:sum{{{ONE}}}", decimals=4),
                _stat("Cost now", "With pods alive counted up to now; it may be corrected down, Cost never is.", "currencyUSD",
                      f"llmtrain_job_cost_now_usd{{{ONE}}}", decimals=4),
                _stat("Burn rate", "US dollars an hour, now.", "currencyUSD", f"llmtrain_job_usd_per_hour{{{ONE}}}", decimals=2),
                _stat("Pod-hours", "Hours that pods were billed for.", "none",
                      f"namespace_name:llmtrain_job_pod_hours:sum{{{ONE}}}", decimals=3),
                _stat("USD per pod-hour", "Cost over pod-hours.", "currencyUSD",
                      f"namespace_name:llmtrain_job_usd_per_pod_hour:ratio{{{ONE}}}", decimals=4),
                _stat("Chance to exceed the budget", "By the forecast.", "percentunit",
                      f"llmtrain_job_budget_breach_probability_ratio{{{ONE}}}", decimals=0),
                _stat("Goodput of dollars",
                      "Of what the whole job cost so far, what was not waste; of pods alive only what is certain counts.",
                      "percentunit", f"namespace_name:llmtrain_job_goodput_of_dollars:ratio{{{ONE}}}", 8, 1),
                _stat("Goodput of billed time, training",
                      "Of the billed seconds of its settled heads and workers, those in which the work moved forward.",
                      "percentunit", f"llmtrain_job_goodput_of_billed_time_ratio{{{ONE}}}", 8, 1),
                _stat("Step efficiency",
                      "Of training's seconds of steps and checkpoints, all attempts, those of steps done for the first time. Needs the PodMonitor.",
                      "percentunit", f"max by (namespace, name) (llmtrain_train_step_efficiency_ratio{{{ONE}}})", 8, 1),
                Panel(
                    "table",
                    "Cost by pod-hour, by stage and role",
                    "The ledger: pod-hours, accelerator-hours, cost and price of a pod-hour. Sums to Cost.",
                    "none",
                    (
                        _cell(f"namespace_name_stage_role:llmtrain_job_pod_hours:sum{{{ONE}}}"),
                        _cell(f"namespace_name_stage_role:llmtrain_job_accelerator_hours:sum{{{ONE}}}"),
                        _cell(f"sum by (namespace, name, stage, role, plan, tenure) (llmtrain_job_cost_usd_total{{{ONE}}})"),
                        _cell(f"namespace_name_stage_role:llmtrain_job_usd_per_pod_hour:ratio{{{ONE}}}"),
                    ),
                    16,
                    columns=(*LEDGER_TABLE[2:], ("Value #A", "pod-hours"), ("Value #B", "accelerator-hours"),
                             ("Value #C", "cost"), ("Value #D", "USD per pod-hour")),
                    units=(("cost", "currencyUSD"), ("USD per pod-hour", "currencyUSD")),
                ),
                Panel(
                    "bargauge",
                    "Cost of work and of waste",
                    "What was paid for work, and by kind what was paid for and was not work. Sums to Cost.",
                    "currencyUSD",
                    (
                        _now(f"sum(llmtrain_job_cost_usd_total{{{ONE}}}) - sum(llmtrain_job_waste_usd_total{{{ONE}}})", "working"),
                        _now(f"sum by (kind) (llmtrain_job_waste_usd_total{{{ONE}}})", "{{kind}}"),
                    ),
                    8,
                ),
            ),
        ),
        Row(
            "Estimate, forecast, budget",
            (
                Panel(
                    "timeseries",
                    "Forecast against budget",
                    "Cost so far, forecast percentiles and the budget.",
                    "currencyUSD",
                    (
                        Query(f"namespace_name:llmtrain_job_cost_usd:sum{{{ONE}}}", "so far"),
                        Query(f"llmtrain_job_forecast_usd{{{ONE}}}", "forecast p{{percentile}}"),
                        Query(f"llmtrain_job_budget_usd{{{ONE}}}", "budget"),
                    ),
                    12,
                ),
                Panel("bargauge", "Estimate before the start", "Quantiles.", "currencyUSD",
                      (_now(f"llmtrain_job_estimate_usd{{{ONE}}}", "p{{percentile}}"),), 6),
                Panel("bargauge", "Duration of the stages", "From the first attempt to the end.", "s",
                      (_now(f"llmtrain_job_stage_duration_seconds{{{ONE}}}", "{{stage}}"),), 6),
                Panel("state-timeline", "Stages", "Which stage the job was in, and how it stood.", "none",
                      # Prometheus knows no empty label, and a job that is Pending is in no stage.
                      (Query('max by (stage, state) (label_replace('
                             f'llmtrain_job_info{{{ONE}}}, "stage", "no stage", "stage", ""))',
                             "{{stage}} {{state}}"),), 12),
                Panel("state-timeline", "Conditions", "1 while the condition has the status.", "none",
                      (Query(f'llmtrain_job_condition{{{ONE}, status="True"}}', "{{condition}}"),), 12),
            ),
        ),
        Row(
            "Training",
            (
                Panel("timeseries", "Loss", "Training loss, nats per token.", "none",
                      (Query(f"max by (attempt) (llmtrain_train_loss{{{ONE}}})", "attempt {{attempt}}"),)),
                Panel("timeseries", "Tokens per second", "Over all workers.", "none",
                      (Query(f"max by (attempt) (llmtrain_train_tokens_per_second{{{ONE}}})", "attempt {{attempt}}"),)),
                Panel("timeseries", "MFU", "Model FLOPs utilisation, causal convention.", "percentunit",
                      (Query(f"max by (attempt) (llmtrain_train_mfu_ratio{{{ONE}}})", "attempt {{attempt}}"),)),
                Panel("timeseries", "Pods billed", "Pods alive and billed, by stage and role.", "none",
                      (Query(f"sum by (stage, role) (rate(llmtrain_job_pod_seconds_total{{{ONE}}}[5m]))", "{{stage}} {{role}}"),),
                      12, stacked=True),
                Panel("timeseries", "Gradient norm", "Before clipping.", "none",
                      (Query(f"max by (attempt) (llmtrain_train_gradient_norm{{{ONE}}})", "attempt {{attempt}}"),), 12),
            ),
        ),
    ),
)  # fmt: skip

PLAN = Variable("plan", "Plan", "label_values(llmtrain_plan_usd_per_accelerator_hour, plan)")

RENT_OR_OWN = Dashboard(
    "llmtrain-rent-or-own",
    "LLM training / Rent or own",
    "What was paid, what the same training would have cost on every other plan, and where owning begins to pay.",
    (NAMESPACE, JOB, PLAN),
    (
        Row(
            "The job's training, on every plan",
            (
                Panel(
                    "bargauge",
                    "Actual and counterfactual",
                    "Training as billed, beside the same accelerator-seconds on other plans. Never add them up.",
                    "currencyUSD",
                    (
                        _now(f'sum by (plan, tenure) (llmtrain_job_cost_usd_total{{{ONE}, stage="Training", role="worker"}})',
                             "paid: {{plan}} ({{tenure}})"),
                        _now(f"llmtrain_job_counterfactual_usd{{{ONE}}}", "{{plan}} ({{tenure}})"),
                    ),
                    24,
                ),
            ),
        ),
        Row(
            "Plans",
            (
                Panel("bargauge", "USD per accelerator-hour", "Rented: the price. Owned: levelised over the machines' life.",
                      "currencyUSD", (_now('llmtrain_plan_usd_per_accelerator_hour{plan=~"$plan"}', "{{plan}} ({{tenure}})"),), 8,
                      decimals=4),
                Panel("bargauge", "Break-even utilisation of owned plans",
                      "Share of the hours above which owning is cheaper than renting.", "percentunit",
                      (_now('llmtrain_plan_breakeven_utilization_ratio{plan=~"$plan"}', "{{plan}}"),), 8),
                Panel("bargauge", "USD per pod-hour", "Of a pod of each role on the plan.", "currencyUSD",
                      (_now('llmtrain_plan_usd_per_pod_hour{plan=~"$plan"}', "{{plan}} ({{tenure}}) {{role}}"),), 8, decimals=4),
            ),
        ),
        Row(
            "What was used",
            (
                Panel("timeseries", "Cost by tenure", "What all jobs of the namespaces cost, by tenure.", "currencyUSD",
                      (Query(f"sum by (tenure) (llmtrain_job_cost_usd_total{{{NS}}})", "{{tenure}}"),), 12, stacked=True),
                Panel("timeseries", "Accelerator-hours by plan", "Billed, cumulative.", "none",
                      (Query(f"sum by (plan) (namespace_name_stage_role:llmtrain_job_accelerator_hours:sum{{{NS}}})", "{{plan}}"),),
                      12, stacked=True),
            ),
        ),
    ),
)  # fmt: skip

OPERATOR = Dashboard(
    "llmtrain-operator",
    "LLM training / Operator health",
    "Whether the operator does its work, how fast, and what the apiserver says to it.",
    (),
    (
        Row(
            "Health",
            (
                _stat("Since the last success", "Seconds since a turn of any job succeeded.", "s",
                      "time() - max(llmtrain_operator_last_success_timestamp_seconds)", 6),
                _stat("Turns", "Turns of the reconcile loop a second.", "reqps",
                      "sum(rate(llmtrain_operator_reconcile_total[$__rate_interval]))", 6, 2),
                _stat("Turns that fail", "Share of the turns.", "percentunit",
                      "sum(rate(llmtrain_operator_reconcile_errors_total[$__rate_interval])) "
                      "/ (sum(rate(llmtrain_operator_reconcile_total[$__rate_interval])) > 0)", 6, 2),
                _stat("Jobs", "Jobs that the operator knows.", "none", "count(llmtrain_job_info)", 6),
            ),
        ),
        Row(
            "Work",
            (
                _quantiles("Duration of a turn", "Quantiles over all jobs.",
                           "llmtrain_operator_reconcile_duration_seconds"),
                Panel("timeseries", "Requests to the apiserver", "A second, by verb and code; 0 is no answer.", "reqps",
                      (Query("sum by (verb, code) (rate(llmtrain_operator_api_requests_total[$__rate_interval]))",
                             "{{verb}} {{code}}"),), 12),
                _quantiles("Wait for a turn", "From the wake-up of a job's loop to its turn, over all jobs.",
                           "llmtrain_operator_reconcile_wait_seconds"),
                Panel("timeseries", "Waiting and under way", "Jobs whose turn has not begun, and requests to the apiserver.", "none",
                      (Query("llmtrain_operator_reconcile_queue_depth", "jobs that wait for their turn"),
                       Query("llmtrain_operator_api_requests_in_flight", "requests under way"),
                       Query("llmtrain_operator_api_requests_waiting", "requests that wait")), 12),
                Panel("timeseries", "What should be nothing", "Pods of jobs that are gone; job loops that ended in a bug.", "none",
                      (Query("llmtrain_operator_orphan_pods", "orphan pods"),
                       Query("llmtrain_operator_loop_crashes_total", "crashes")), 12, 5),
                Panel("table", "Versions", "Of the running operator.", "none", (_cell("llmtrain_operator_build_info"),), 12, 5,
                      columns=(("version", "version"),)),
            ),
        ),
    ),
    "now-1h",
)  # fmt: skip

DASHBOARDS = (FLEET, ONE_JOB, RENT_OR_OWN, OPERATOR)
