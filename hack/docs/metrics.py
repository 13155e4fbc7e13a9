"""The metrics reference: what the operator's registry and the stages' code export, and the rules on top."""

from collections.abc import Iterator

import catalog

from llmtrain.observe.rules import ALERTS, MONEY_RULES


def page() -> str:
    """Everything that is exported."""
    parts = [
        "# Metrics\n\nMoney and time come from the ledgers in the jobs' statuses: durable, cumulative, exact. Read them raw; `increase()` "
        "loses what a counter had at its first scrape. Use `rate() * 3600` for burn rates.\n",
        section("Operator", "`/metrics` of the operator, port 8080.", catalog.operator()),
        section(
            "Stage pods",
            "Port 8090 of every stage pod; the PodMonitor adds `namespace`, `name`, `stage`, `role`, `attempt`.",
            catalog.stages(),
        ),
        rules(),
        alerts(),
    ]
    return "\n".join(parts)


def section(title: str, where: str, entries: Iterator[catalog.Entry]) -> str:
    """One table."""
    rows = [
        f"| `{e.name}` | {e.kind} | {', '.join(f'`{label}`' for label in e.labels)} | {e.help} |"
        for e in sorted(entries)
    ]
    return (
        f"## {title}\n\n{where}\n\n| metric | type | labels | what it is |\n|---|---|---|---|\n"
        + "\n".join(rows)
        + "\n"
    )


def rules() -> str:
    """Recording rules."""
    rows = [f"| `{rule.record}` | `{rule.expr}` |" for rule in MONEY_RULES]
    return "## Recording rules\n\n| series | expression |\n|---|---|\n" + "\n".join(rows) + "\n"


def alerts() -> str:
    """Alerts with their runbooks."""
    rows = [f"| [{a.name}](../runbooks/{a.name}.md) | {a.severity} | {a.wait} | {a.summary} |" for a in ALERTS]
    return "## Alerts\n\n| alert | severity | for | when |\n|---|---|---|---|\n" + "\n".join(rows) + "\n"
