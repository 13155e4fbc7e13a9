#!/usr/bin/env bash
# prometheus-client 0.26.0: a scrape with `?name[]=` answers 200 without the metric where a custom collector has no
# `describe`.
#
# The same metric is in the full page. `registry.register` asks `describe` for the names (and with `auto_describe=True`, as
# the default registry is made, `collect`); a registry made by hand has `auto_describe=False`, and then the filter knows no
# name of the collector and leaves all of it out without a word. With `describe` a counter is found by its sample's name
# (`_total`); by its family's name, which `describe` gives, it is left out just as silently.
# Seen on Linux, CPython 3.11: exits with 0 while it is so, with 1 when that has changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q prometheus-client==0.26.0
cd "$work"
"$work/venv/bin/python" - <<'PY'
import sys
from importlib.metadata import version

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector


class Plain(Collector):
    def collect(self):
        yield CounterMetricFamily("paid_usd", "Dollars.", value=3)


class Described(Plain):
    def describe(self):
        return self.collect()


def asked(collector, name):
    registry = CollectorRegistry()
    registry.register(collector)
    whole = b"paid_usd_total 3.0" in generate_latest(registry)
    filtered = b"paid_usd_total 3.0" in generate_latest(registry.restricted_registry([name]))
    print(f"{type(collector).__name__}, name[]={name}: in the page {whole}, in the filtered page {filtered}")
    return whole, filtered


print(f"prometheus-client {version('prometheus-client')}")
names = ("paid_usd", "paid_usd_total")
seen = [asked(kind(), name) for kind in (Plain, Described) for name in names]
sys.exit(0 if seen == [(True, False), (True, False), (True, False), (True, True)] else 1)
PY
