"""Pages of metrics in the forms that client libraries print them: small, each with its library's own habits."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from turnback.adapters.probes.reading import MetricNames
from turnback.entrypoints.config_guard import MetricsSection
from turnback.entrypoints.probing import metric_names

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

NAMES: MetricNames = metric_names(MetricsSection())


def _python_registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    requests = Counter("http_requests", "Requests.", ["method", "endpoint", "status"], registry=registry)
    requests.labels("GET", "/api/notes", "200").inc(40)
    requests.labels("POST", "/api/notes", "200").inc(2)
    requests.labels("GET", "/api/notes", "500").inc(3)
    requests.labels("GET", "/healthz", "200").inc(1000)
    requests.labels("GET", '/odd "path"\\\n', "404").inc()
    seconds = Histogram(
        "http_request_duration_seconds", "Time.", ["endpoint"], registry=registry, buckets=(0.1, 0.5, 1)
    )
    for taken in (0.05, 0.2, 0.7, 3):
        seconds.labels("/api/notes").observe(taken, {"trace_id": "abc"})
    Gauge("db_pool_size", "Pool.", registry=registry).set(10)
    Gauge("db_pool_in_use", "Pool.", registry=registry).set(4)
    Summary("gc_seconds", "Another.", registry=registry).observe(0.1)
    return registry


def python_text() -> str:
    return generate_latest(_python_registry()).decode()


def python_openmetrics() -> str:
    return generate_openmetrics(_python_registry()).decode()


# Micrometer 1.x (Spring Boot): a comma behind the last label, values as 1.0 and 1.0E-4, quantiles in a histogram.
MICROMETER = """\
# HELP hikaricp_connections_max Max connections
# TYPE hikaricp_connections_max gauge
hikaricp_connections_max{pool="HikariPool-1",} 10.0
# HELP hikaricp_connections_active Active connections
# TYPE hikaricp_connections_active gauge
hikaricp_connections_active{pool="HikariPool-1",} 10.0
# HELP hikaricp_connections_pending Pending threads
# TYPE hikaricp_connections_pending gauge
hikaricp_connections_pending{pool="HikariPool-1",} 3.0
# HELP hikaricp_connections_timeout_total Connection timeout total count
# TYPE hikaricp_connections_timeout_total counter
hikaricp_connections_timeout_total{pool="HikariPool-1",} 2.0
# HELP http_server_requests_seconds \x20
# TYPE http_server_requests_seconds histogram
http_server_requests_seconds{exception="None",method="GET",outcome="SUCCESS",status="200",uri="/greeting",quantile="0.95",} 0.00524288
http_server_requests_seconds_bucket{exception="None",method="GET",outcome="SUCCESS",status="200",uri="/greeting",le="0.2",} 1.0
http_server_requests_seconds_bucket{exception="None",method="GET",outcome="SUCCESS",status="200",uri="/greeting",le="0.5",} 3.0
http_server_requests_seconds_bucket{exception="None",method="GET",outcome="SUCCESS",status="200",uri="/greeting",le="+Inf",} 16.0
http_server_requests_seconds_count{exception="None",method="GET",outcome="SUCCESS",status="200",uri="/greeting",} 16.0
http_server_requests_seconds_sum{exception="None",method="GET",outcome="SUCCESS",status="200",uri="/greeting",} 8.42042E-4
http_server_requests_seconds_bucket{exception="DataAccessException",method="GET",outcome="SERVER_ERROR",status="500",uri="/greeting",le="0.2",} 4.0
http_server_requests_seconds_bucket{exception="DataAccessException",method="GET",outcome="SERVER_ERROR",status="500",uri="/greeting",le="0.5",} 4.0
http_server_requests_seconds_bucket{exception="DataAccessException",method="GET",outcome="SERVER_ERROR",status="500",uri="/greeting",le="+Inf",} 4.0
http_server_requests_seconds_count{exception="DataAccessException",method="GET",outcome="SERVER_ERROR",status="500",uri="/greeting",} 4.0
http_server_requests_seconds_sum{exception="DataAccessException",method="GET",outcome="SERVER_ERROR",status="500",uri="/greeting",} 0.1
# HELP http_server_requests_seconds_max \x20
# TYPE http_server_requests_seconds_max gauge
http_server_requests_seconds_max{exception="None",method="GET",outcome="SUCCESS",status="200",uri="/greeting",} 8.008833202
# HELP jvm_gc_pause_seconds_max Time spent in GC pause
# TYPE jvm_gc_pause_seconds_max gauge
jvm_gc_pause_seconds_max{action="end of minor GC",cause="Metadata GC Threshold",} NaN
"""

# The same library as OpenMetrics, with exemplars; a timer without a histogram is a summary there.
MICROMETER_OPENMETRICS = """\
# TYPE http_server_requests_seconds histogram
# HELP http_server_requests_seconds \x20
http_server_requests_seconds_bucket{exception="None",method="GET",outcome="SUCCESS",status="200",uri="/",le="0.001747626"} 1.0 # {span_id="1088a82a040cb136",trace_id="3316c5af7c639cbc84910438d0614794"} 0.001646636 1671141016.218
http_server_requests_seconds_bucket{exception="None",method="GET",outcome="SUCCESS",status="200",uri="/",le="+Inf"} 5.0
http_server_requests_seconds_count{exception="None",method="GET",outcome="SUCCESS",status="200",uri="/"} 5.0
http_server_requests_seconds_sum{exception="None",method="GET",outcome="SUCCESS",status="200",uri="/"} 0.02
# TYPE hikaricp_connections_max gauge
# HELP hikaricp_connections_max Max connections
hikaricp_connections_max{pool="HikariPool-1"} 10.0
# EOF
"""

# prom-client for Node.js with an Express middleware: no counter of requests beside the histogram, `le` first.
NODE = """\
# HELP process_cpu_user_seconds_total Total user CPU time spent in seconds.
# TYPE process_cpu_user_seconds_total counter
process_cpu_user_seconds_total 126.29242099999999

# HELP http_request_duration_seconds duration histogram of http responses labeled with: status_code, method, path
# TYPE http_request_duration_seconds histogram
http_request_duration_seconds_bucket{le="0.003",status_code="200",method="GET",path="/"} 6
http_request_duration_seconds_bucket{le="0.3",status_code="200",method="GET",path="/"} 7
http_request_duration_seconds_bucket{le="+Inf",status_code="200",method="GET",path="/"} 7
http_request_duration_seconds_sum{status_code="200",method="GET",path="/"} 0.025610142000000002
http_request_duration_seconds_count{status_code="200",method="GET",path="/"} 7
http_request_duration_seconds_bucket{le="0.003",status_code="503",method="GET",path="/"} 0
http_request_duration_seconds_bucket{le="0.3",status_code="503",method="GET",path="/"} 1
http_request_duration_seconds_bucket{le="+Inf",status_code="503",method="GET",path="/"} 2
http_request_duration_seconds_sum{status_code="503",method="GET",path="/"} 5.1
http_request_duration_seconds_count{status_code="503",method="GET",path="/"} 2

# HELP up 1 = up, 0 = not up
# TYPE up gauge
up 1
"""

# Go, promhttp.InstrumentHandlerCounter and -Duration: `code`, numbers as 1.5e+06, series in alphabetical order.
GO = """\
# HELP go_gc_duration_seconds A summary of the wall-time pause (stop-the-world) duration in garbage collection cycles.
# TYPE go_gc_duration_seconds summary
go_gc_duration_seconds{quantile="0"} 2.4167e-05
go_gc_duration_seconds_sum 0.061
go_gc_duration_seconds_count 61
# HELP http_request_duration_seconds A histogram of latencies for requests.
# TYPE http_request_duration_seconds histogram
http_request_duration_seconds_bucket{handler="/push",method="get",le="0.25"} 1.5e+06
http_request_duration_seconds_bucket{handler="/push",method="get",le="+Inf"} 1.500001e+06
http_request_duration_seconds_sum{handler="/push",method="get"} 12.5
http_request_duration_seconds_count{handler="/push",method="get"} 1.500001e+06
# HELP http_requests_total A counter for requests to the wrapped handler.
# TYPE http_requests_total counter
http_requests_total{code="200",handler="/push",method="get"} 1.5e+06
http_requests_total{code="502",handler="/push",method="get"} 1
# HELP promhttp_metric_handler_requests_total Total number of scrapes by HTTP status code.
# TYPE promhttp_metric_handler_requests_total counter
promhttp_metric_handler_requests_total{code="200"} 15143
"""

# OpenTelemetry's names through its Prometheus exporter: one histogram is all there is.
OPENTELEMETRY = """\
# HELP http_server_request_duration_seconds Duration of HTTP server requests.
# TYPE http_server_request_duration_seconds histogram
http_server_request_duration_seconds_bucket{http_request_method="GET",http_response_status_code="200",http_route="/index.jsp",otel_scope_name="io.opentelemetry.tomcat-10.0",url_scheme="http",le="0.005"} 1
http_server_request_duration_seconds_bucket{http_request_method="GET",http_response_status_code="200",http_route="/index.jsp",otel_scope_name="io.opentelemetry.tomcat-10.0",url_scheme="http",le="+Inf"} 2
http_server_request_duration_seconds_count{http_request_method="GET",http_response_status_code="200",http_route="/index.jsp",otel_scope_name="io.opentelemetry.tomcat-10.0",url_scheme="http"} 2
http_server_request_duration_seconds_sum{http_request_method="GET",http_response_status_code="200",http_route="/index.jsp",otel_scope_name="io.opentelemetry.tomcat-10.0",url_scheme="http"} 0.3
# HELP target_info Target metadata
# TYPE target_info gauge
target_info{service_name="board-system"} 1
"""

# prometheus-fastapi-instrumentator: the status as a class, one histogram by handler and one without.
FASTAPI = """\
# HELP http_requests_total Total number of requests by method, status and handler.
# TYPE http_requests_total counter
http_requests_total{handler="/items/{item_id}",method="GET",status="2xx"} 9.0
http_requests_total{handler="/items/{item_id}",method="GET",status="5xx"} 1.0
# HELP http_requests_created Total number of requests by method, status and handler.
# TYPE http_requests_created gauge
http_requests_created{handler="/items/{item_id}",method="GET",status="2xx"} 1.7e+09
# HELP http_request_duration_highr_seconds Latency with many buckets but no API specific labels.
# TYPE http_request_duration_highr_seconds histogram
http_request_duration_highr_seconds_bucket{le="0.01"} 8.0
http_request_duration_highr_seconds_bucket{le="+Inf"} 10.0
http_request_duration_highr_seconds_count 10.0
http_request_duration_highr_seconds_sum 0.2
# HELP http_request_duration_seconds Latency with only few buckets by handler.
# TYPE http_request_duration_seconds histogram
http_request_duration_seconds_bucket{handler="/items/{item_id}",le="0.1",method="GET"} 9.0
http_request_duration_seconds_bucket{handler="/items/{item_id}",le="+Inf",method="GET"} 10.0
http_request_duration_seconds_count{handler="/items/{item_id}",method="GET"} 10.0
http_request_duration_seconds_sum{handler="/items/{item_id}",method="GET"} 0.2
"""

# django-prometheus: the status and the view stand in two metrics.
DJANGO = """\
# HELP django_http_responses_total_by_status_total Count of responses by status.
# TYPE django_http_responses_total_by_status_total counter
django_http_responses_total_by_status_total{status="200"} 12.0
django_http_responses_total_by_status_total{status="500"} 2.0
# HELP django_http_requests_latency_including_middlewares_seconds Histogram of requests processing time.
# TYPE django_http_requests_latency_including_middlewares_seconds histogram
django_http_requests_latency_including_middlewares_seconds_bucket{le="0.1"} 10.0
django_http_requests_latency_including_middlewares_seconds_bucket{le="+Inf"} 14.0
django_http_requests_latency_including_middlewares_seconds_count 14.0
django_http_requests_latency_including_middlewares_seconds_sum 3.1
"""


@dataclass(frozen=True)
class Page:
    """A page, its content type, and what is read from it: {(endpoint, status): total}, {endpoint: buckets},
    (size, in_use, waiting, timeouts).
    """

    name: str
    text: str
    kind: str
    requests: dict[tuple[str, str], float]
    latencies: dict[str, tuple[tuple[float, ...], tuple[float, ...]]]
    pool: tuple[float | None, float | None, float | None, float | None] = (None, None, None, None)


_PYTHON_REQUESTS = {("/api/notes", "200"): 42, ("/api/notes", "500"): 3, ('/odd "path"\\\n', "404"): 1}
_PYTHON_LATENCIES = {"/api/notes": ((0.1, 0.5, 1, inf), (1, 2, 3, 4))}

PAGES = (
    Page("python", python_text(), TEXT, _PYTHON_REQUESTS, _PYTHON_LATENCIES, (10, 4, None, None)),
    Page(
        "python-openmetrics",
        python_openmetrics(),
        OPENMETRICS,
        _PYTHON_REQUESTS,
        _PYTHON_LATENCIES,
        (10, 4, None, None),
    ),
    Page(
        "micrometer",
        MICROMETER,
        TEXT,
        {("/greeting", "200"): 16, ("/greeting", "500"): 4},
        {"/greeting": ((0.2, 0.5, inf), (5, 7, 20))},
        (10, 10, 3, 2),
    ),
    Page(
        "micrometer-openmetrics",
        MICROMETER_OPENMETRICS,
        OPENMETRICS,
        {("/", "200"): 5},
        {"/": ((0.001747626, inf), (1, 5))},
        (10, None, None, None),
    ),
    Page("node", NODE, TEXT, {("/", "200"): 7, ("/", "503"): 2}, {"/": ((0.003, 0.3, inf), (6, 8, 9))}),
    Page(
        "go",
        GO,
        TEXT,
        {("/push", "200"): 1.5e6, ("/push", "502"): 1},
        {"/push": ((0.25, inf), (1.5e6, 1500001))},
    ),
    Page(
        "opentelemetry",
        OPENTELEMETRY,
        TEXT,
        {("/index.jsp", "200"): 2},
        {"/index.jsp": ((0.005, inf), (1, 2))},
    ),
    Page(
        "fastapi",
        FASTAPI,
        TEXT,
        {("/items/{item_id}", "2xx"): 9, ("/items/{item_id}", "5xx"): 1},
        {"/items/{item_id}": ((0.1, inf), (9, 10))},
    ),
    Page("django", DJANGO, TEXT, {("", "200"): 12, ("", "500"): 2}, {"": ((0.1, inf), (10, 14))}),
)
