# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The host's part of certificate: ask a CA, or remove what was got from one."""

from __future__ import annotations

from typing import Any

from ansible_collections.flaskops.hosting.plugins.module_utils import certificates
from ansible_collections.flaskops.hosting.plugins.module_utils.certificates import CertificateError, Wanted

ARGUMENTS: dict[str, Any] = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "names": {"type": "list", "elements": "str", "required": True},
}


def get(wanted: Wanted, check_mode: bool) -> tuple[bool, str, str]:
    """Have a site served with its certificate: whether anything changed, what to tell, and the problem if there is one."""
    if check_mode:
        due = certificates.is_due(wanted)
        return due, "the CA would be asked" if due else "is there", ""
    try:
        changed = certificates.obtain(wanted)
    except (CertificateError, OSError) as error:
        return True, "", f"no HTTPS for {', '.join(wanted.names)}: {error}"
    found = certificates.summary(wanted)
    return changed, f"{found['issuer']}, {found['days']} days left, will be renewed after {found['next']}", ""


def answer(options: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    """Get or remove certificates, and return the module's result."""
    names: list[str] = options["names"]
    if options["state"] == "absent":
        gone = [name for name in names if check_mode or certificates.remove(name)]
        return {"changed": bool(gone), "summary": [f"{name}: removed" for name in gone]}
    noted = {one.name: one for one in certificates.read_all()}
    result: dict[str, Any] = {"changed": False, "summary": [], "problem": ""}
    for name in names:
        if name not in noted and not check_mode:
            advice = "write its note with flaskops.hosting.config_files first"
            return {**result, "failed": True, "msg": f"names: got {name!r}, which is not noted on this host; {advice}"}
        changed, summary, problem = get(noted.get(name, Wanted(name=name)), check_mode)
        result["changed"] = result["changed"] or changed
        result["summary"] += [f"{name}: {summary}"] if summary else []
        result["problem"] = "\n".join(filter(None, [result["problem"], problem]))
    return result
