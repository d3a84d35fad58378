"""What Prometheus, Alertmanager, Grafana and Kubernetes need to watch the same things as the guard.

All of it is made from turnback.toml, so that alerts and guard cannot disagree. `export` makes and writes the
files, `tools` lets promtool and amtool judge them.
"""
