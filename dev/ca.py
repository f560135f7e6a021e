"""Start a CA on the host of the local fleet that has HTTPS, unless it runs. Needs the Python of .venv."""

from __future__ import annotations

import sys
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / ".venv/collections"))

from ansible_collections.flaskops.hosting.tests.targets.authority import Authority
from ansible_collections.flaskops.hosting.tests.targets.harness import ROOT, Target
from ansible_collections.flaskops.hosting.tests.targets.pebble import Pebble

FILES = ROOT / ".cache/ca"


def main() -> None:
    """For each host of the inventory that asks a CA."""
    groups = yaml.safe_load((ROOT / "inventories/docker/hosts.yml").read_text(encoding="utf-8"))
    hosts = {name: host for group in groups.values() for name, host in group["hosts"].items()}
    for name, host in hosts.items():
        if host.get("flask_app_tls") != "acme":
            continue
        [site] = host["flask_app_server_names"]
        target = Target(name, host["ansible_host"], host.get("target_variant", ""), FILES, control=FILES)
        if not target.succeeds("systemctl is-active pebble pebble-dns"):
            FILES.mkdir(parents=True, exist_ok=True)
            (FILES / "root.pem").unlink(missing_ok=True)
            pebble = Pebble(target, Authority(FILES))
            pebble.install()
            pebble.name(site)
            pebble.root(FILES)
        print(
            f"ca: {site} gets a certificate from it; after the demo, curl --cacert .cache/ca/pebble.pem --resolve {site}:443:{target.address} https://{site}/"
        )


if __name__ == "__main__":
    main()
