"""Turn what a host has noted into what 0.1.0 noted: run on a target by its own Python.

0.1.0 wrote the same files for nginx, Apache and systemd, but none that refuses names; its notes had no format number, and it noted no paths.
"""

import json
import shutil
from pathlib import Path
from typing import Any

MODULES = {"wsgi", "headers", "proxy", "proxy_uwsgi", "proxy_fcgi"}
FRONTS = {"nginx": "nginx_site", "apache": "apache_site"}


def text(listen: dict[str, Any]) -> str:
    """A port, or an address and a port, as 0.1.0 wrote it."""
    return f"{listen['address']}:{listen['port']}" if listen["address"] else str(listen["port"])


for path in Path("/etc/flaskops/apps").glob("*.json"):
    new = json.loads(path.read_text())
    if "format" not in new:
        continue
    (site,) = new["sites"] or [None]
    modules = sorted({link.stem for link in Path("/etc/apache2/mods-enabled").glob("*.load")} & MODULES)
    old = {key: new[key] for key in ("app", "root", "user", "group", "topology", "url", "mount", "mounts")}
    old.update(
        front_role=FRONTS[site["front"]] if site else "",
        front={"address": f"127.0.0.1:{site['listens'][0]['port']}", "host": (site["names"] or ["localhost"])[0]} if site else {},
        site=site["name"] if site else "",
        site_listen=text(site["listens"][0]) if site else "",
        site_names=site["names"] if site else [],
        modules=modules if site and site["front"] == "apache" else [],
        php=False,
        listen=new["instances"][0]["listen"] or ("" if new["topology"] == "apache_mod_wsgi" else "unix:run/app.sock"),
    )
    path.write_text(json.dumps(old, indent=1, sort_keys=True))
    for noted in Path(new["root"]).glob("releases/*/release.json"):
        facts = json.loads(noted.read_text())
        if "format" not in facts:
            continue
        (web,) = facts.pop("instances")
        facts.pop("format")
        facts.update(manager=web["manager"], listen=f"unix:{web['socket']}" if web["socket"] else "", protocol=web["protocol"], log=web["log"])
        noted.write_text(json.dumps(facts, indent=1))
shutil.rmtree("/etc/flaskops/owners", ignore_errors=True)
for directory in ("/etc/nginx/conf.d", "/etc/apache2/conf-enabled"):
    for path in Path(directory).glob("flaskops-unknown-*.conf"):
        path.unlink()
