"""The development clusters of this user on this machine, each recorded in a folder of its name.

A record is written before the first process is started and removed after the last one has ended, so
that whatever crashes in between can be found and ended.
"""

import difflib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import cast

from orchestrator.errors import ClusterError
from orchestrator.run.local_clusters import RECORD_FILE, TOKEN_FILE, clusters_folder
from orchestrator.run.reap import Session, is_session, living


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusterRecord:
    """A cluster of this machine.

    Attributes:
        folder: of the record, the token and the logs of the cluster's nodes.
        mark: what all of its processes bear in their environment.
        session: where Ray keeps sockets and logs.
        address: "127.0.0.1:PORT", for `runtime.address`; empty while it starts.
        dashboard: "http://127.0.0.1:PORT", to which jobs are submitted; empty while it starts.
        request: what it was asked to be.
    """

    name: str
    folder: Path
    mark: str
    session: Path
    address: str = ""
    dashboard: str = ""
    request: Mapping[str, object] = field(default_factory=dict)

    @property
    def token_file(self) -> Path:
        return self.folder / TOKEN_FILE

    @property
    def processes(self) -> Session:
        """How its processes are found."""
        return Session(mark=self.mark, folder=self.session)

    @property
    def is_up(self) -> bool:
        """Whether it has been started whole and has a process."""
        return bool(self.address) and bool(living(self.processes))

    def write(self) -> None:
        """Records it, readable for its owner alone."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        content = {
            **asdict(self),
            "folder": str(self.folder),
            "session": str(self.session),
            "token_file": str(self.token_file),
        }
        staged = self.folder / f".{RECORD_FILE}.{os.getpid()}.tmp"
        with os.fdopen(os.open(staged, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as file:
            json.dump(content, file)
        staged.replace(self.folder / RECORD_FILE)


def recorded(name: str) -> ClusterRecord | None:
    """What is recorded of a cluster, also of one that has crashed; None where nothing is.

    Raises:
        ClusterError: the record is damaged.
    """
    path = clusters_folder() / name / RECORD_FILE
    try:
        content = json.loads(path.read_text())
        record = ClusterRecord(
            name=name,
            folder=path.parent,
            mark=str(content["mark"]),
            session=Path(str(content["session"])),
            address=str(content["address"]),
            dashboard=str(content["dashboard"]),
            request=cast("Mapping[str, object]", dict(content["request"])),
        )
        _check(record)
        return record
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise ClusterError(
            f"{path} is damaged: {error}",
            hint=f"no cluster can be found by it; remove {path.parent} once nothing of it runs",
        ) from error


def _check(record: ClusterRecord) -> None:
    """Refuses what no command of ours has written: by a record processes and folders are removed.

    Raises:
        ValueError: what is wrong with it.
    """
    if not is_session(record.processes):
        raise ValueError("its mark or its session is none of ours")
    for address in (record.address, record.dashboard.removeprefix("http://")):
        if address and not re.fullmatch(r"127\.0\.0\.1:\d{1,5}", address):
            raise ValueError(f'"{address}" is not on this machine')


def all_recorded() -> tuple[ClusterRecord, ...]:
    """What is recorded of all clusters, by name."""
    names = sorted(path.parent.name for path in clusters_folder().glob(f"*/{RECORD_FILE}"))
    return tuple(found for name in names if (found := recorded(name)) is not None)


def clusters() -> tuple[ClusterRecord, ...]:
    """Those that run, by name."""
    return tuple(record for record in all_recorded() if record.is_up)


def find_cluster(name: str | None) -> ClusterRecord:
    """The running cluster of that name, or the only one that runs.

    Raises:
        ClusterError: there is none, or several and no name.
    """
    running = {record.name: record for record in clusters()}
    if name is None and len(running) == 1:
        return next(iter(running.values()))
    if name is not None and name in running:
        return running[name]
    names = ", ".join(running) or "none"
    if name is None:
        what = "several local clusters run" if running else "no local cluster runs"
        hint = "--name says which" if running else "orchestrator cluster up starts one"
        raise ClusterError(f"{what} (running: {names})", hint=hint)
    close = difflib.get_close_matches(name, running, n=1)
    question = f'; did you mean "{close[0]}"?' if close else ""
    raise ClusterError(
        f'no local cluster "{name}" runs{question} (running: {names})',
        hint="orchestrator cluster up --name NAME starts one",
    )
