# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How an app is on its host: what runs of it, since when, whether it is healthy, and what went wrong."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from ansible_collections.flaskops.hosting.plugins.module_utils import activation, certificates, process_status
from ansible_collections.flaskops.hosting.plugins.module_utils.database_use import certificate_for
from ansible_collections.flaskops.hosting.plugins.module_utils.health import ask
from ansible_collections.flaskops.hosting.plugins.module_utils.record import Record
from ansible_collections.flaskops.hosting.plugins.module_utils.release_tree import Release, ReleaseError, Tree
from ansible_collections.flaskops.hosting.plugins.module_utils.release_variables import WEB

HEALTH_TIMEOUT = 5  # seconds
LOG_LINES = 5


def certificate_of(record: Record) -> dict[str, Any]:
    """What people read of the certificate of an app's site; empty if it has none to have."""
    directory = next((Path(site.certificate) for site in record.sites if site.certificate), None)
    if directory is None:
        return {}
    noted = next((one for one in certificates.read_all() if one.file.parent == directory), None)
    return certificates.summary(noted) if noted else certificates.summary_of_file(directory / "fullchain.pem")


def question_of(record: Record) -> dict[str, str]:
    """How to ask for an app through its front: by HTTPS if its site has its certificate."""
    return record.question(secure=any(certificates.is_on(Path(site.certificate), site.names) for site in record.sites if site.certificate))


def more_of(record: Record, tree: Tree, log_lines: int, process: str = WEB) -> dict[str, Any]:
    """An app's status: what runs, since when, whether it is healthy, and what went wrong."""
    live = tree.live() if record.root else None
    shown: dict[str, Any] = {
        "live_since": _time(tree.current.lstat().st_mtime) if live else "",
        "maintenance": bool(record.root) and tree.maintenance.exists(),
        "releases": [_describe(release) for release in tree.kept_releases()] if record.root else [],
        "previous": previous(tree) if record.root else "",
        "certificate": certificate_of(record),
        "database_certificate": certificate_for(record),
        "jobs": {},  # in place of the record's, which are names
    }
    if live and live.is_complete():
        web = activation.web_of(live)
        shown["health"] = ask_for_health(record, live, f"unix:{activation.socket_of(web)}")
        shown["processes"] = {WEB: web.state()}
        shown["workers"] = process_status.workers(activation.workers_of(live))
        shown["jobs"] = process_status.jobs(live)
        shown["logged"] = logged(live)
        known = process if process in shown["logged"] else WEB
        shown["log"], shown["follow"] = log_of(live, known, log_lines), follow(live, known)
    return shown


def logged(live: Release) -> list[str]:
    """What of a live release has a log: its web server, its workers and its jobs."""
    return [WEB, *process_status.names(live)]


def log_of(live: Release, process: str, lines: int) -> list[str]:
    """The last lines of one of them, those of the releases before included, without secrets."""
    return activation.app_log(live.tree, lines) if process == WEB else process_status.log_of(live, process, lines)


def follow(live: Release, process: str) -> str:
    """The command that follows the log of one of them, as root's shell takes it."""
    return activation.web_of(live).follow if process == WEB else process_status.follow(live, process)


def previous(tree: Tree) -> str:
    """The release that a rollback goes to if it is given none; empty if there is none."""
    try:
        return activation.previous(tree).name
    except ReleaseError:
        return ""


def ask_for_health(record: Record, live: Release, socket: str) -> str:
    """What the health path answers through the web server, else at the app's own port, else at its ``socket``."""
    question, facts = question_of(record), live.facts()
    address = question.get("address") or record.own_listen() or socket
    protocol = question.get("protocol", "http") if address != socket else facts.web.protocol
    path = record.mount.rstrip("/") + facts.health_path
    proof = activation.proof_of(live, question.get("proof", ""))
    return ask(address, question.get("host", "localhost"), path, HEALTH_TIMEOUT, protocol, proof)


def _describe(release: Release) -> dict[str, Any]:
    failure = release.failure()
    return {
        "name": release.name,
        "version": release.facts().version,
        "created": _time(release.made()),
        "live": _time(release.went_live()),
        "by": release.made_live_by(),
        "failed": failure.get("reason", ""),
        "fits": activation.suits_front(release),
    }


def _time(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds)) if seconds else ""
