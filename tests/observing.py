"""Every expression of the dashboards and rules, asked of a real Prometheus."""

import json
import math
import re
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from llmtrain.observe.dashboards import DASHBOARDS
from llmtrain.observe.rules import groups

RANGE, RATE = "1h", "1m"


@dataclass(frozen=True)
class Asked:
    """One expression: where it is, what it says, which labels its legend uses."""

    where: str
    expr: str
    legend: str
    instant: bool

    @property
    def labels(self) -> set[str]:
        return set(re.findall(r"{{\s*(\w+)\s*}}", self.legend))


def panels() -> Iterator[Asked]:
    for page in DASHBOARDS:
        for panel in page.to_dict()["panels"]:
            for target in panel.get("targets", []):
                where = f"{page.uid}: {panel['title']} {target['refId']}"
                yield Asked(where, target["expr"], target["legendFormat"], target["instant"])


def alerts() -> Iterator[Asked]:
    for group in groups():
        for rule in group["rules"]:
            if "alert" in rule:
                yield Asked(rule["alert"], rule["expr"], "", instant=True)


def chosen(expr: str, namespace: str, name: str) -> str:
    """The expression with the variables as somebody has chosen them."""
    values = {"namespace": namespace, "name": name, "plan": ".+", "__range": RANGE, "__rate_interval": RATE}
    return re.sub(r"\$(\w+)", lambda match: values[match.group(1)], expr)


class Prometheus:
    """Its HTTP API."""

    def __init__(self, url: str) -> None:
        self.url = url

    def get(self, path: str, **query: Any) -> Any:
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(query)}", timeout=10) as answer:
            body = json.load(answer)
        assert body["status"] == "success", body
        return body["data"]

    def instant(self, expr: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get("query", query=expr)["result"]
        return found

    def over(self, expr: str, start: float, end: float, step: float) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get("query_range", query=expr, start=start, end=end, step=step)["result"]
        return found


def problems(asked: Asked, series: list[dict[str, Any]]) -> list[str]:
    """What is wrong with an answer: no series, nothing finite, a label that the legend uses and the series lack."""
    if not series:
        return [f"{asked.where}: no series for {asked.expr}"]
    found = []
    for one in series:
        values = [float(value) for _, value in one.get("values", [one.get("value")])]
        if not any(map(math.isfinite, values)):
            found.append(f"{asked.where}: nothing finite in {one['metric']}")
        if missing := asked.labels - set(one["metric"]):
            found.append(f"{asked.where}: {missing} are not labels of {one['metric']}")
    return found


def metrics_in(expr: str) -> set[str]:
    """Names of metrics and recorded series."""
    bare = re.sub(r'"[^"]*"', "", expr)
    return set(re.findall(r"\b(?:[a-z_]+:)?llmtrain_[a-z_]+(?::[a-z0-9_]+)?", bare))
