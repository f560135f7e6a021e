"""A CA that speaks ACME, pebble, on a target itself; and one that only says no."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.flaskops.hosting.tests.targets.authority import Authority
from ansible_collections.flaskops.hosting.tests.targets.harness import Target, eventually

DIRECTORY = "https://localhost:14000/dir"
REFUSING = "https://localhost:14443/dir"
# A validation comes at once, and each order needs one; 60 of 100 nonces are bad, and certbot itself asks for another one only once.
ENVIRONMENT = "PEBBLE_VA_NOSLEEP=1 PEBBLE_AUTHZREUSE=0 PEBBLE_WFE_NONCEREJECT=60"
# What it answers is in /run/refusing.json: a status, headers, a body, and seconds that it waits before.
REFUSING_CA = """
import http.server, json, ssl, time


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        given = json.load(open("/run/refusing.json"))
        time.sleep(given["seconds"])
        self.send_response(given["status"])
        for name, value in given["headers"].items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(given["body"].encode())

    do_HEAD = do_POST = do_GET


server = http.server.ThreadingHTTPServer(("127.0.0.1", 14443), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("/run/pebble/ca.pem", "/run/pebble/ca.key")
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""


@dataclass
class Pebble:
    """pebble and its DNS server on a target."""

    target: Target
    authority: Authority
    accounts: dict[str, str] = field(default_factory=dict)  # if it is given some, it gives certificates to them alone: their keys by their names

    @property
    def ca_file(self) -> Path:
        """The root certificate of pebble's own HTTPS."""
        return self.authority.root

    def install(self, *packages: str) -> None:
        """As a package of the distribution's, with `packages` beside it, and its own certificate."""
        install = "DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends"
        self.target.run(f"apt-get update -qq && {install} {' '.join(['pebble', *packages])} >/dev/null")
        certificate, key = self.authority.give("localhost")
        self.target.run("mkdir -p /run/pebble")
        configuration = {
            "listenAddress": "127.0.0.1:14000", "managementListenAddress": "127.0.0.1:15000",
            "certificate": "/run/pebble/ca.pem", "privateKey": "/run/pebble/ca.key",
            "httpPort": 80, "tlsPort": 443, "ocspResponderURL": "",
            "externalAccountBindingRequired": bool(self.accounts), "externalAccountMACKeys": self.accounts,
            "certificateValidityPeriod": 7776000, "profiles": {"default": {"description": "of tests", "validityPeriod": 7776000}},
        }  # fmt: skip
        files = {"ca.pem": certificate.read_text(), "ca.key": key.read_text(), "config.json": json.dumps({"pebble": configuration})}
        for name, text in {**files, "refusing.py": REFUSING_CA}.items():
            self.target.run(f"cat >/run/pebble/{name}", stdin=text)
        self.start()
        self.target.run("systemd-run --unit=refusing-ca --quiet python3 /run/pebble/refusing.py")
        self.say(503)

    def start(self) -> None:
        """Start it; its accounts are in memory, so the host must not know any."""
        self.target.run("rm -rf /etc/letsencrypt/accounts")
        environment = " ".join(f"--setenv={one}" for one in ENVIRONMENT.split())
        doh = "-doh ''" if self.target.succeeds("pebble-challtestsrv -help 2>&1 | grep -e -doh") else ""  # Debian 12's knows none
        dns = f"pebble-challtestsrv -http01 '' -https01 '' -tlsalpn01 '' {doh} -management 127.0.0.1:8055 -dns01 127.0.0.1:8053"
        self.target.run(f"systemd-run --unit=pebble-dns --quiet {dns} -defaultIPv4 '' -defaultIPv6 ''")
        self.target.run(f"systemd-run --unit=pebble --quiet {environment} pebble -config /run/pebble/config.json -dnsserver 127.0.0.1:8053")
        assert eventually(lambda: self.target.succeeds("curl -ks https://localhost:14000/dir || bash -c '</dev/tcp/127.0.0.1/14000'"), 20)

    def stop(self) -> None:
        """Stop both."""
        self.target.run("systemctl stop pebble pebble-dns")

    def name(self, *names: str) -> None:
        """Have these names lead to the target."""
        texts = [json.dumps({"host": name, "addresses": ["127.0.0.1"]}) for name in names]
        program = "import sys,urllib.request as r\nfor line in sys.stdin: r.urlopen('http://127.0.0.1:8055/add-a',data=line.encode())"
        self.target.run(f'python3 -c "{program}"', stdin="\n".join(texts))

    def root(self, directory: Path) -> Path:
        """A file in a directory with the root certificate of what it gives; another one after each start."""
        path = directory / "pebble.pem"
        program = "import ssl,urllib.request as r;print(r.urlopen('https://localhost:15000/roots/0',context=ssl._create_unverified_context()).read().decode())"
        path.write_text(self.target.run(f'python3 -c "{program}"'), encoding="utf-8")
        return path

    def say(self, status: int, body: str = "", seconds: float = 0, **headers: str) -> None:
        """What the CA that says no answers from now on."""
        given = {"status": status, "body": body, "seconds": seconds, "headers": {name.replace("_", "-"): value for name, value in headers.items()}}
        self.target.run("cat >/run/refusing.json", stdin=json.dumps(given))
