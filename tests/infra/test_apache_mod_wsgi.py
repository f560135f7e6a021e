"""The process of an app in mod_wsgi, as the app itself reports it."""

from __future__ import annotations

import json

from testinfra.host import Host

from ansible_collections.flaskops.hosting.tests.infra.facts import FACTS, Fact, ask, of, processes, properties

TOPOLOGY = "apache_mod_wsgi"


@of([Fact(TOPOLOGY, FACTS[TOPOLOGY]["apps"]["flaskapp"])])
def test_the_app_shows_its_daemon_process(host: Host, fact: Fact) -> None:
    """Apache's own child, with nothing but its account in all its ids."""
    user = host.user(fact.what["account"])
    reported = json.loads(ask(host, TOPOLOGY, 80, f"{fact.what['mounts'][0]}/process")[2])
    (daemon,) = [process for process in processes(host) if user.uid in process.uids]
    assert reported == {
        "login": user.name,
        "getpid": daemon.pid,
        "getppid": int(properties(host, "apache2.service", "MainPID")["MainPID"]),
        "geteuid": user.uid,
        "getegid": user.gid,
        "getgroups": [user.gid],
        "getresuid": [user.uid] * 3,
        "getresgid": [user.gid] * 3,
    }
