"""What Prometheus and Grafana need, as code: rules, alerts and dashboards, generated into the chart."""
