"""Grafana panels and dashboards as typed values; `to_dict` gives the JSON that Grafana provisions.

Ids and places follow from the order, so the same code gives the same bytes.
"""

from dataclasses import dataclass
from typing import Any

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
COLUMNS = 24
SCHEMA_VERSION = 41


@dataclass(frozen=True)
class Query:
    """One PromQL expression and how its series are called."""

    expr: str
    legend: str = ""
    instant: bool = False
    table: bool = False

    def to_dict(self, ref: str) -> dict[str, Any]:
        """Grafana's target."""
        return {
            "datasource": DATASOURCE,
            "expr": self.expr,
            "legendFormat": self.legend or "__auto",
            "instant": self.instant,
            "range": not self.instant,
            "format": "table" if self.table else "time_series",
            "refId": ref,
        }


@dataclass(frozen=True)
class Panel:
    """One panel. `unit` is Grafana's name of a unit, such as currencyUSD, s, percentunit."""

    kind: str
    title: str
    description: str
    unit: str
    queries: tuple[Query, ...]
    width: int = 8
    height: int = 8
    decimals: int | None = None
    stacked: bool = False
    columns: tuple[tuple[str, str], ...] = ()
    """Tables: (field, shown as), in their order; fields that are not named are hidden."""
    units: tuple[tuple[str, str], ...] = ()
    """Tables: (shown as, unit) of columns with a unit of their own."""

    def to_dict(self, number: int, x: int, y: int) -> dict[str, Any]:
        """Grafana's panel."""
        defaults: dict[str, Any] = {"unit": self.unit, "custom": self._custom()}
        if self.decimals is not None:
            defaults["decimals"] = self.decimals
        return {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.description,
            "datasource": DATASOURCE,
            "gridPos": {"h": self.height, "w": self.width, "x": x, "y": y},
            "targets": [query.to_dict(chr(ord("A") + i)) for i, query in enumerate(self.queries)],
            "fieldConfig": {"defaults": defaults, "overrides": self._overrides()},
            "options": self._options(),
            "transformations": self._transformations(),
        }

    def _custom(self) -> dict[str, Any]:
        if self.kind != "timeseries":
            return {}
        mode = "normal" if self.stacked else "none"
        return {
            "lineWidth": 2,
            "fillOpacity": 30 if self.stacked else 5,
            "stacking": {"mode": mode},
            "showPoints": "never",
        }

    def _options(self) -> dict[str, Any]:
        match self.kind:
            case "stat":
                return {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "value", "graphMode": "area"}
            case "timeseries":
                legend = {"displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull", "max"]}
                return {"legend": legend, "tooltip": {"mode": "multi", "sort": "desc"}}
            case "bargauge":
                return {
                    "reduceOptions": {"calcs": ["lastNotNull"]},
                    "orientation": "horizontal",
                    "displayMode": "basic",
                }
            case _:
                return {}

    def _overrides(self) -> list[dict[str, Any]]:
        return [
            {"matcher": {"id": "byName", "options": name}, "properties": [{"id": "unit", "value": unit}]}
            for name, unit in self.units
        ]

    def _transformations(self) -> list[dict[str, Any]]:
        if not self.columns:
            return []
        order = {field: place for place, (field, _) in enumerate(self.columns)}
        include = dict.fromkeys(order, True)
        organize = {"includeByName": include, "indexByName": order, "renameByName": dict(self.columns)}
        return [{"id": "merge", "options": {}}, {"id": "organize", "options": organize}]


@dataclass(frozen=True)
class Row:
    """A heading and the panels below it, set from left to right."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Variable:
    """A choice at the top: values of a label."""

    name: str
    label: str
    query: str
    many: bool = True

    def to_dict(self) -> dict[str, Any]:
        """Grafana's template variable."""
        return {
            "type": "query",
            "name": self.name,
            "label": self.label,
            "datasource": DATASOURCE,
            "definition": self.query,
            "query": {"query": self.query, "refId": f"variable-{self.name}"},
            "refresh": 2,
            "sort": 1,
            "multi": self.many,
            "includeAll": self.many,
            "allValue": ".+" if self.many else None,
            "current": {"text": "All", "value": "$__all"} if self.many else {},
        }


@dataclass(frozen=True)
class Dashboard:
    """A page. Its uid never changes: links to it are in people's notes."""

    uid: str
    title: str
    description: str
    variables: tuple[Variable, ...]
    rows: tuple[Row, ...]
    since: str = "now-6h"

    def to_dict(self) -> dict[str, Any]:
        """Grafana's dashboard."""
        chosen = {"type": "datasource", "name": "datasource", "label": "Data source", "query": "prometheus"}
        return {
            "uid": self.uid,
            "title": self.title,
            "description": self.description,
            "tags": ["llmtrain"],
            "schemaVersion": SCHEMA_VERSION,
            "version": 1,
            "editable": False,
            "graphTooltip": 1,
            "refresh": "30s",
            "timezone": "utc",
            "time": {"from": self.since, "to": "now"},
            "templating": {"list": [chosen, *(variable.to_dict() for variable in self.variables)]},
            "links": [LINKS],
            "panels": self._panels(),
        }

    def _panels(self) -> list[dict[str, Any]]:
        panels: list[dict[str, Any]] = []
        y = 0
        for row in self.rows:
            place = {"h": 1, "w": COLUMNS, "x": 0, "y": y}
            panels.append(
                {
                    "id": len(panels) + 1,
                    "type": "row",
                    "title": row.title,
                    "collapsed": False,
                    "gridPos": place,
                    "panels": [],
                }
            )
            x, y, line = 0, y + 1, 0
            for panel in row.panels:
                if x + panel.width > COLUMNS:
                    x, y, line = 0, y + line, 0
                panels.append(panel.to_dict(len(panels) + 1, x, y))
                x, line = x + panel.width, max(line, panel.height)
            y += line
        return panels


LINKS = {
    "type": "dashboards",
    "tags": ["llmtrain"],
    "asDropdown": False,
    "includeVars": True,
    "keepTime": True,
    "title": "",
}
NAMESPACE = Variable("namespace", "Namespace", "label_values(llmtrain_job_info, namespace)")
JOB = Variable("name", "Job", 'label_values(llmtrain_job_info{namespace=~"$namespace"}, name)', many=False)
