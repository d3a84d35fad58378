"""turnback.toml for the guard: probes, triggers, the decision matrix, notices, validation, alerts."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from turnback.core.watch.rules import Mode, Severity
from turnback.entrypoints.config_section import Section, Strings

URL = r"^https?://[^\s]+$"
LISTEN = r"^[^\s:]*:\d{1,5}$"
SECRET = r"^(env|file):.+$"
Url = Annotated[str, Field(pattern=URL)]
Secret = Annotated[str, Field(pattern=SECRET)]
Share = Annotated[float, Field(gt=0, le=1)]


class CheckSection(Section):
    """An HTTP check: ok is a 2xx within the timeout."""

    url: Url | None = Field(default=None, description="Its address; without it there is no such check.")
    interval_seconds: PositiveFloat = Field(default=10, description="Seconds between two checks.")
    timeout_seconds: PositiveFloat = Field(default=5, description="An answer that takes longer is none.")


class DependencySection(CheckSection):
    url: Url = Field(description="Something the application needs that is not PostgreSQL: its health.")


class ServerProbeSection(Section):
    """The guard's own session on PostgreSQL."""

    enabled: bool = Field(default=True, description="Connect and read, as `url`'s role does.")
    write: bool = Field(
        default=True,
        description="Also write one row of the guard's own (schema `turnback`, outside the publication).",
    )
    interval_seconds: PositiveFloat = Field(default=5, description="Seconds between two checks.")
    timeout_seconds: PositiveFloat = Field(default=5, description="A check that takes longer has failed.")


class SyntheticSection(Section):
    """A request of the guard's own, for applications with little traffic."""

    url: Url | None = Field(default=None, description="What it asks for; without it there is none.")
    method: Literal["GET", "POST", "PUT"] = Field(default="GET", description="The request's method.")
    body: str | None = Field(default=None, description="The request's body (JSON is sent as JSON).")
    expect: PositiveInt = Field(default=200, description="The status that it has to answer.")
    interval_seconds: PositiveFloat = Field(default=5, description="Seconds between two requests.")
    timeout_seconds: PositiveFloat = Field(default=5, description="An answer that takes longer is none.")


class MetricsSection(Section):
    """The application's metrics: its own endpoint, or a Prometheus server that scrapes it."""

    url: Url | None = Field(default=None, description="The application's endpoint, text or OpenMetrics.")
    prometheus: Url | None = Field(
        default=None, description="Instead of url: a Prometheus server, asked through its query API."
    )
    selector: str = Field(
        default="", description='With prometheus: which series, as label matchers: `job="app"`.'
    )
    interval_seconds: PositiveFloat = Field(default=10, description="Seconds between two readings.")
    timeout_seconds: PositiveFloat = Field(default=5, description="A reading that takes longer is none.")
    max_bytes: PositiveInt = Field(
        default=16 * 1024 * 1024, description="A page of metrics that is longer is refused."
    )
    requests: Strings = Field(
        default=(
            "http_requests_total",
            "http_server_requests_total",
            "django_http_responses_total_by_status_total",
            "flask_http_request_total",
            "starlette_requests_total",
            "http_server_requests_seconds_count",
            "http_requests_received_total",
            "http_request_duration_seconds_count",
            "http_server_request_duration_seconds_count",
        ),
        description="Names of the counter of requests; the first that is there, with a status, counts.",
    )
    latency: Strings = Field(
        default=(
            "http_request_duration_seconds",
            "http_server_request_duration_seconds",
            "http_server_requests_seconds",
            "django_http_requests_latency_including_middlewares_seconds",
            "flask_http_request_duration_seconds",
            "starlette_request_duration_seconds",
        ),
        description="Names of the histogram of durations, in seconds; the first that is there counts.",
    )
    status_label: Strings = Field(
        default=("status", "code", "status_code", "http_status_code", "http_response_status_code"),
        description="The label that has the status; a value such as `5xx` will do.",
    )
    endpoint_label: Strings = Field(
        default=("endpoint", "handler", "route", "path", "path_template", "http_route", "uri", "view"),
        description="The label that has the endpoint.",
    )
    user_label: str | None = Field(
        default=None, description="A label that names the user: `affected` is counted in users then."
    )
    ignore_endpoints: Strings = Field(
        default=("/metrics", "/api/metrics", "/health", "/healthz", "/api/health", "/api/health/database"),
        description="Endpoints that do not count as requests: probes and scrapes.",
    )
    critical_endpoints: Strings = Field(
        default=(),
        description="Over half of their requests failing is a breach of severity high, alone.",
    )
    pool_size: Strings = Field(
        default=("db_pool_size", "hikaricp_connections_max", "db_client_connections_max"),
        description="Names of the gauge of connections that the pool may have.",
    )
    pool_in_use: Strings = Field(
        default=("db_pool_in_use", "hikaricp_connections_active", "db_pool_checked_out"),
        description="Names of the gauge of connections in use.",
    )
    pool_waiting: Strings = Field(
        default=("db_pool_waiting", "hikaricp_connections_pending", "db_client_connections_pending_requests"),
        description="Names of the gauge of requests that wait for a connection.",
    )
    pool_timeouts: Strings = Field(
        default=("db_pool_timeouts_total", "hikaricp_connections_timeout_total"),
        description="Names of the counter of requests that waited too long for a connection.",
    )
    causes: str | None = Field(
        default=None, description="A counter of failed requests by cause; `cause_label` has the cause."
    )
    cause_label: str = Field(default="cause", description="The label of `causes`.")
    other_causes: Strings = Field(
        default=(),
        description="Causes that are known not to be PostgreSQL: most failures of these are no rollback.",
    )


class LogSection(Section):
    path: str | None = Field(
        default=None, description="The application's log; platform process: its output, without this key."
    )
    pattern: str = Field(
        default=r"(?i)\b(error|exception|traceback|fatal|panic)\b",
        description="What a line with an error looks like (a regular expression).",
    )
    interval_seconds: PositiveFloat = Field(default=10, description="Seconds between two readings.")


class ConsecutiveSection(Section):
    enabled: bool = Field(default=True, description="Whether this trigger is judged.")
    failures: PositiveInt | None = Field(default=None, description="Failed checks, one after the other.")


class NeverHealthySection(Section):
    enabled: bool = Field(default=True, description="Whether this trigger is judged.")
    seconds: PositiveFloat | None = Field(
        default=None,
        description="No healthy answer for so long after a start; without it `[app] health_timeout_seconds`.",
    )


class CrashLoopSection(Section):
    enabled: bool = Field(default=True, description="Whether this trigger is judged (platform process).")
    exits: PositiveInt = Field(default=3, description="The application ended by itself so often ...")
    within_seconds: PositiveFloat = Field(default=120, description="... within this time.")


class ErrorRateSection(Section):
    enabled: bool = Field(default=True, description="Whether this trigger is judged.")
    limit: Share = Field(default=0.05, description="The share of requests that may fail (status 5xx).")
    for_seconds: NonNegativeFloat = Field(default=300, description="Every evaluation for longer than this.")
    window_seconds: PositiveFloat = Field(default=60, description="What one evaluation looks at.")
    min_requests: PositiveInt = Field(default=50, description="Fewer in the window: no verdict.")
    min_failures: PositiveInt = Field(default=5, description="Fewer in the window: no breach.")


class LatencySection(Section):
    enabled: bool = Field(default=True, description="Whether this trigger is judged.")
    ratio: Annotated[float, Field(gt=1)] = Field(
        default=1.5, description="The p95 may be up to so many times the baseline's."
    )
    floor_seconds: NonNegativeFloat = Field(
        default=0.05, description="And it may be over the baseline's by this, whatever the ratio."
    )
    for_seconds: NonNegativeFloat = Field(default=300, description="Every evaluation for longer than this.")
    window_seconds: PositiveFloat = Field(default=60, description="What one evaluation looks at.")
    min_requests: PositiveInt = Field(default=100, description="Fewer in the window: no verdict.")


class PoolSection(Section):
    enabled: bool = Field(default=True, description="Whether this trigger is judged.")
    breaches: PositiveInt = Field(default=3, description="Exhausted in so many ...")
    of: PositiveInt = Field(default=5, description="... of the last readings.")


class LogErrorsSection(Section):
    enabled: bool = Field(default=False, description="Whether this trigger is judged. Off: logs differ much.")
    limit: PositiveFloat = Field(default=60, description="Lines with errors a minute that are not too many.")
    for_seconds: NonNegativeFloat = Field(default=300, description="Every evaluation for longer than this.")


class TriggersSection(Section):
    database_health: ConsecutiveSection = Field(
        default=ConsecutiveSection(), description="The database's health, and the guard's session (3 checks)."
    )
    application_health: ConsecutiveSection = Field(
        default=ConsecutiveSection(), description="The application's health (5 checks)."
    )
    never_healthy: NeverHealthySection = Field(
        default=NeverHealthySection(), description="A start that never became healthy."
    )
    crash_loop: CrashLoopSection = Field(
        default=CrashLoopSection(), description="The application ends by itself, again and again."
    )
    error_rate: ErrorRateSection = Field(default=ErrorRateSection(), description="Failed requests.")
    latency: LatencySection = Field(default=LatencySection(), description="Slower than the baseline.")
    pool: PoolSection = Field(default=PoolSection(), description="The connection pool is exhausted.")
    log_errors: LogErrorsSection = Field(default=LogErrorsSection(), description="Errors in the log.")


class SeveritySection(Section):
    """A line of the decision matrix; what is not given is the profile's."""

    above_share: Annotated[float, Field(ge=0, le=1)] | None = Field(
        default=None, description="From which share of affected requests (or users) on."
    )
    objective_seconds: PositiveFloat | None = Field(
        default=None, description="The time that a rollback of this severity may take."
    )
    kind: Literal["emergency", "planned"] | None = Field(
        default=None, description="Whether the rollback waits at most 3 s for a graceful stop."
    )
    mode: Mode | None = Field(default=None, description="What the guard does; without it `[guard] mode`.")


class NotifySection(Section):
    alertmanager: Url | None = Field(
        default=None, description="An Alertmanager: notices become alerts there."
    )
    webhook: Secret | None = Field(
        default=None, description="`env:NAME` or `file:PATH` of an address that takes Slack's JSON."
    )
    command: str | None = Field(
        default=None, description="A shell command; the notice is JSON on its standard input."
    )
    timeout_seconds: PositiveFloat = Field(default=10, description="For one attempt.")
    repeat_seconds: PositiveFloat = Field(
        default=300, description="What goes on is said again after this time."
    )


class GuardSection(Section):
    listen: str | None = Field(
        default=None,
        pattern=LISTEN,
        description="Where /metrics, /status and the webhook answer: `127.0.0.1:9464`. Without it nowhere.",
    )
    listen_anywhere: bool = Field(
        default=False, description="Allows `listen` an address that other machines can reach."
    )
    token: Secret | None = Field(
        default=None,
        description="`env:NAME` or `file:PATH` of the bearer token; without it `guard.token` in the state"
        " folder, made at the first start.",
    )
    mode: Mode = Field(
        default="recommend",
        description="observe: record only; recommend: say what it would do; enforce: roll back by itself.",
    )
    profile: Literal["runbook", "cautious"] = Field(
        default="runbook",
        description="runbook: every trigger may roll back; cautious: critical and high only, the rest is"
        " recommended.",
    )
    warm_up_seconds: NonNegativeFloat = Field(
        default=120, description="After a cutover only the hard failures count for this long."
    )
    blind_after: PositiveInt = Field(
        default=10, description="So many readings without data are told, and nothing is decided on them."
    )
    max_lag_seconds: PositiveFloat = Field(
        default=60, description="A fallback that is further behind is not ready."
    )
    verification_days: PositiveFloat = Field(
        default=7, description="The last green comparison may be this old."
    )
    trace_bytes: PositiveInt = Field(
        default=64 * 1024 * 1024, description="Room for the recorded observations; the oldest go."
    )
    application: CheckSection = Field(
        default=CheckSection(), description="The application's health; without url `[app] health`."
    )
    database: CheckSection = Field(
        default=CheckSection(), description="The database's health, as the application tells it."
    )
    server: ServerProbeSection = Field(
        default=ServerProbeSection(), description="The guard's own session on PostgreSQL."
    )
    synthetic: SyntheticSection = Field(
        default=SyntheticSection(), description="A request of the guard's own."
    )
    metrics: MetricsSection = Field(default=MetricsSection(), description="The application's metrics.")
    log: LogSection = Field(default=LogSection(), description="The application's log.")
    dependencies: dict[str, DependencySection] = Field(
        default={}, description="What else the application needs: its failure is no reason to roll back."
    )
    triggers: TriggersSection = Field(default=TriggersSection(), description="What counts as a breach.")
    severities: dict[Severity, SeveritySection] = Field(
        default={}, description="The decision matrix, where it differs from the profile."
    )
    alerts: dict[str, Severity] = Field(
        default={}, description="Alertmanager's alerts that are a trigger: name and severity."
    )
    notify: NotifySection = Field(default=NotifySection(), description="Whom the guard tells.")


class EndpointSection(Section):
    status: PositiveInt = Field(default=200, description="The status that it has to answer.")
    contains: str | None = Field(default=None, description="Text that has to be in the answer.")


class StateRowSection(Section):
    query: str = Field(description="An SQL query for SQLite that gives one value.")
    expect: str | int | float | None = Field(
        default=None, description="The value; without it any but NULL will do."
    )


class ValidateSection(Section):
    base: Url | None = Field(
        default=None, description="Where the endpoints are; without it the origin of `[app] health`."
    )
    endpoints: dict[str, EndpointSection] = Field(
        default={}, description="Paths and what they have to answer; without any `[app] health` alone."
    )
    page: str | None = Field(default=None, description="The path of the main page.")
    marker: str | None = Field(default=None, description="Text that the main page has to show.")
    state: dict[str, StateRowSection] = Field(
        default={}, description="Rows of the application's state, such as its version."
    )
    orphans: Strings = Field(
        default=(), description="References that no foreign key declares: `TABLE.COLUMN -> TABLE.COLUMN`."
    )
    max_memory_bytes: PositiveInt | None = Field(
        default=None, description="More memory in the application's processes fails."
    )
    max_cpu_percent: PositiveFloat | None = Field(
        default=None, description="More processor time (100 is one core) fails."
    )
    log_lines: NonNegativeInt = Field(default=100, description="The last lines of the log that are read.")
    max_log_errors: NonNegativeInt = Field(
        default=0, description="More lines with errors since the start on SQLite fail."
    )
    watch_seconds: NonNegativeFloat = Field(
        default=300, description="After a rollback everything has to be normal for this long."
    )


class AlertsSection(Section):
    """What `turnback alerts export` writes besides what the guard is configured with."""

    name: str = Field(
        default="app",
        pattern=r"^[a-z0-9]([-a-z0-9]{0,40}[a-z0-9])?$",
        description="The application's name, in jobs, labels and objects.",
    )
    namespace: str = Field(
        default="default",
        pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$",
        description="The namespace of the Kubernetes objects.",
    )
    down_seconds: PositiveFloat = Field(default=60, description="ApplicationDown: how long.")
    database_seconds: PositiveFloat = Field(default=120, description="DatabaseConnectionFailed: how long.")
    error_window_seconds: PositiveFloat = Field(default=300, description="HighErrorRate: its window.")
    error_for_seconds: PositiveFloat = Field(default=180, description="HighErrorRate: how long.")
    latency_limit_seconds: PositiveFloat = Field(default=2, description="HighResponseTime: the p95's limit.")
    latency_window_seconds: PositiveFloat = Field(default=300, description="HighResponseTime: its window.")
    latency_for_seconds: PositiveFloat = Field(default=300, description="HighResponseTime: how long.")
    scrape_seconds: PositiveFloat = Field(default=5, description="Seconds between two scrapes.")
    certificate_days: PositiveFloat = Field(default=7, description="An older certificate is told.")
    drill_days: PositiveFloat = Field(default=30, description="An older drill is told.")
    alertmanager: str = Field(
        default="127.0.0.1:9093", description="Where Prometheus finds Alertmanager (host and port)."
    )
    alertmanager_image: str = Field(
        default="prom/alertmanager:v0.28.1",
        description="The image of the Alertmanager Deployment; never `latest`.",
    )
    receiver_webhook: Secret | None = Field(
        default=None, description="`file:PATH` of an address that Alertmanager sends its alerts to."
    )
