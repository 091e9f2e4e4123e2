"""Which cluster is meant, where its job server is, and the token that it wants."""

import ipaddress
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from orchestrator.errors import ClusterError
from orchestrator.provision.registry import ClusterRecord, clusters
from orchestrator.redaction.process import hide

NO_CLUSTER_HINT = (
    "orchestrator cluster up starts one on this machine; --address names the dashboard of another,"
    " such as http://10.0.0.1:8265"
)
_API_VARIABLE, _RAY_VARIABLE = "RAY_API_SERVER_ADDRESS", "RAY_ADDRESS"
_DEFAULT_TOKEN = Path(".ray") / "auth_token"


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """The job server of a cluster.

    Attributes:
        url: of the dashboard.
        token: None where none is to be sent.
        here: whether the cluster is on this machine, and sees its files.
        name: of a local cluster of ours.
    """

    url: str
    token: str | None = field(repr=False)
    here: bool
    name: str | None = None

    def __str__(self) -> str:
        return f"{self.name} ({self.url})" if self.name else self.url


def choose_target(address: str | None, environ: Mapping[str, str]) -> Target:
    """The cluster that an option names, or else the environment, or else the one on this machine.

    Args:
        address: the URL of a dashboard, its host and port, or the name of a local cluster.

    Raises:
        ClusterError: there is none, or several; the address or a token's file is wrong.
    """
    known = clusters()
    given, source = address, "--address"
    if given is None:
        source = _API_VARIABLE if environ.get(_API_VARIABLE) else _RAY_VARIABLE
        given = environ.get(source)
    if not given or given in {"auto", "local"}:
        return _only(known, environ)
    for record in known:
        if given in {record.name, record.address, record.dashboard}:
            return _of_record(record)
    return _elsewhere(given, source, environ, known)


def _only(known: tuple[ClusterRecord, ...], environ: Mapping[str, str]) -> Target:
    match known:
        case ():
            raise ClusterError("no cluster to submit to", hint=NO_CLUSTER_HINT)
        case (record,):
            return _of_record(record)
    names = ", ".join(record.name for record in known)
    raise ClusterError(
        f"several clusters run on this machine: {names}", hint="--address NAME says which is meant"
    )


def _of_record(record: ClusterRecord) -> Target:
    return Target(url=record.dashboard, token=_read(record.token_file), here=True, name=record.name)


def _elsewhere(
    given: str, source: str, environ: Mapping[str, str], known: tuple[ClusterRecord, ...]
) -> Target:
    url = given if "://" in given else f"http://{given}"
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        names = f", or a local cluster's name ({', '.join(r.name for r in known)})" if known else ""
        raise ClusterError(
            f'{source}: got "{given}", wanted the URL of a dashboard such as'
            f' "http://10.0.0.1:8265"{names}'
        )
    if parts.username or parts.password:
        raise ClusterError(
            f"{source}: wanted no credentials in the URL",
            hint="RAY_AUTH_TOKEN_PATH names the file with the token",
        )
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError as error:
        raise ClusterError(f'{source}: got "{given}", wanted a port up to 65535') from error
    token = _token_of(environ, loopback=_is_loopback(parts.hostname))
    return Target(url=url.rstrip("/"), token=token, here=_is_here(parts.hostname, port))


def _token_of(environ: Mapping[str, str], *, loopback: bool) -> str | None:
    """As Ray looks for it; the one of the home directory goes to this machine alone unasked."""
    mode = environ.get("RAY_AUTH_MODE", "").lower()
    if mode == "disabled":
        return None
    if token := environ.get("RAY_AUTH_TOKEN"):
        hide({"RAY_AUTH_TOKEN": token})
        return token
    if path := environ.get("RAY_AUTH_TOKEN_PATH"):
        return _read(Path(path))
    default = Path.home() / _DEFAULT_TOKEN
    return _read(default) if (mode == "token" or loopback) and default.is_file() else None


def _read(path: Path) -> str:
    try:
        token = path.read_text().strip()
    except (OSError, UnicodeError) as error:
        raise ClusterError(f"the token in {path} cannot be read: {error}") from error
    if not token:
        raise ClusterError(f"{path} is empty, wanted a token")
    hide({}, [token])
    return token


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_here(host: str, port: int) -> bool:
    """Whether a dashboard of this machine listens there, and not the end of a tunnel.

    Where that cannot be seen, as for the process of another user, it is taken to be elsewhere.
    """
    own = {
        address.address
        for addresses in psutil.net_if_addrs().values()
        for address in addresses
        if address.family in {socket.AF_INET, socket.AF_INET6}
    }
    if not _is_loopback(host) and host not in own:
        return False
    try:
        listeners = [
            connection.pid
            for connection in psutil.net_connections("tcp")
            if connection.status == psutil.CONN_LISTEN
            and connection.laddr
            and connection.laddr.port == port
        ]
        return any(_is_dashboard(pid) for pid in listeners if pid is not None)
    except psutil.Error:
        return False


def _is_dashboard(pid: int) -> bool:
    # Ray gives its dashboard a title that begins so, once it has started.
    title = " ".join(psutil.Process(pid).cmdline())
    return "ray" in title and "dashboard" in title.lower()
