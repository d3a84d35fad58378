"""A hub that runs on either engine, with its REST API and no notebook servers.

DATABASE_URL (PostgreSQL) when it is set, else DATABASE_PATH; the port from PORT.
"""

import os

import traitlets.config
from jupyterhub.proxy import Proxy
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import URL


class NoProxy(Proxy):
    """The hub's own pages are asked directly; no notebook server has a route."""

    should_start = False

    async def add_route(self, routespec, target, data):
        return None

    async def delete_route(self, routespec):
        return None

    async def get_all_routes(self):
        return {}


def database() -> str:
    """The address as SQLAlchemy writes it."""
    dsn = os.environ.get("DATABASE_URL")
    if not dsn:
        return f"sqlite:///{os.environ['DATABASE_PATH']}"
    parts = conninfo_to_dict(dsn)
    return URL.create(
        "postgresql+psycopg",
        username=str(parts.get("user", "")),
        password=str(parts.get("password", "")),
        database=str(parts["dbname"]),
        query={"host": str(parts.get("host", "")), "port": str(parts.get("port", "5432"))},
    ).render_as_string(hide_password=False)


def configure(c: traitlets.config.Config) -> None:
    port = int(os.environ.get("PORT", "8000"))
    c.JupyterHub.db_url = database()
    c.JupyterHub.proxy_class = NoProxy
    c.JupyterHub.bind_url = f"http://127.0.0.1:{port + 1}"
    c.JupyterHub.hub_bind_url = f"http://127.0.0.1:{port}"
    c.JupyterHub.authenticator_class = "dummy"
    c.JupyterHub.spawner_class = "simple"
    c.JupyterHub.cookie_secret = bytes(32)  # an example, on loopback only
    c.JupyterHub.cleanup_servers = False
    c.DummyAuthenticator.password = "secret"
    c.Authenticator.allow_all = True
    c.JupyterHub.services = [{"name": "journey", "api_token": "an-example-on-loopback-only"}]
    c.JupyterHub.load_roles = [
        {
            "name": "journey",
            "services": ["journey"],
            "scopes": ["admin:users", "admin:groups", "tokens", "read:hub", "list:services", "read:roles"],
        }
    ]


if "get_config" in globals():
    configure(get_config())  # noqa: F821  # JupyterHub gives it to its configuration files
