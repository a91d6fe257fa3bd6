"""The Grafana dashboards as code: what `tools/grafana.py` writes as JSON."""
