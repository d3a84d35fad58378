"""The README of an export: what to do with each file."""

from __future__ import annotations

from collections.abc import Mapping

from turnback.entrypoints.alerts.alertmanager import RECEIVER_KEY, webhook_path
from turnback.entrypoints.alerts.kubernetes import TOKEN_KEY, WEBHOOK_KEY, secret
from turnback.entrypoints.alerts.prometheus import TOKEN_FILE
from turnback.entrypoints.alerts.promql import guard_job
from turnback.entrypoints.config import Config

_TEXT = """\
# Alerts for {name}

Made by `turnback alerts export` from turnback.toml: the thresholds are the guard's own. Do not edit; change
turnback.toml, export again, and let `turnback alerts test` judge the files.
{missing}
## On a machine of its own

| file | what to do with it |
|---|---|
| `prometheus.yml` | start Prometheus with it, or take its two jobs, `rule_files` and `alerting` into yours |
| `rules.yml` | beside it: the rules |
| `rules_test.yml` | `promtool test rules rules_test.yml`: every rule, firing and not |
| `alertmanager.yml` | start Alertmanager with it, or take its routes, receivers, inhibit rules into yours |
| `grafana-dashboard.json` | Grafana: Dashboards, New, Import; it asks for the data source |

Prometheus and Alertmanager need the guard's token, in `{token}` beside their configuration, readable by them
only. No secret is in these files. {source}

    install -m 0400 -o prometheus TOKEN_FILE /etc/prometheus/{token}

Before and after a rollback the application answers at the same address, so nothing has to be changed here
when it goes to PostgreSQL or comes back: the same job, the same rules. `turnback_phase` says where it is.

{people}
{triggers}
## On Kubernetes, with the Prometheus operator

| file | what is in it |
|---|---|
| `kubernetes/prometheusrule.yml` | the same rules, as a PrometheusRule |
| `kubernetes/servicemonitor.yml` | Services, ServiceMonitors: the application on either side, the guard |
| `kubernetes/alertmanager.yml` | Alertmanager: ConfigMap, Deployment, Service |

They choose pods by labels: `app: {name}` with `component: application` (on PostgreSQL) or `component:
rollback` (on SQLite), and `app: {guard}` with `component: guard`. Give your pods these labels. Where the
operator chooses monitors and rules by a label (`release: ...`), add it. The guard has to listen where the
cluster reaches it ([guard] listen, listen_anywhere); its port is the Service's.

The Secret is yours to make, before the rest:

    kubectl -n {namespace} create secret generic {secret} --from-file={key}=TOKEN_FILE{webhook}
"""


def readme(config: Config, missing: Mapping[str, str]) -> str:
    alerts = config.alerts
    left = "".join(f"\nLeft out: {name}: {why}.\n" for name, why in missing.items())
    source = f"It is {config.guard.token or '`guard.token` in the state folder'}:"
    if config.guard.token and config.guard.token.startswith("env:"):
        source = f"It is the value of {config.guard.token[4:]}: write it into a TOKEN_FILE first."
    people = (
        f"Alerts go to the address in the file that {RECEIVER_KEY} names (Alertmanager 0.26 or newer)."
        if webhook_path(config)
        else f"Alertmanager tells nobody yet, it only shows: {RECEIVER_KEY} names a file with an address."
    )
    names = ", ".join(sorted(config.guard.alerts))
    triggers = (
        f"Alerts that the guard takes as triggers ([guard.alerts]), by Alertmanager's webhook: {names}.\n"
        if names
        else "No alert is a trigger of the guard: [guard.alerts] names those that are.\n"
    )
    return _TEXT.format(
        name=alerts.name,
        namespace=alerts.namespace,
        missing=left,
        token=TOKEN_FILE,
        source=source,
        people=people,
        triggers=triggers,
        guard=guard_job(config),
        secret=secret(config),
        key=TOKEN_KEY,
        webhook=f" --from-file={WEBHOOK_KEY}=ADDRESS_FILE" if alerts.receiver_webhook else "",
    )
