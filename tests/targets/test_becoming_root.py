"""Several ways to become root: what differs is what is left of the user's environment, such as PATH, umask and language."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.flaskops.hosting.tests.suite import each
from ansible_collections.flaskops.hosting.tests.targets.harness import Target, app

ADDRESS = "198.18.2.231"
VARIANT = "debian13"  # run0 came with systemd 256
PACKAGES = "opendoas sudo-rs rust-coreutils locales polkitd systemd-container krb5-kdc krb5-admin-server krb5-user"
PASSWORD = "to become 'root'"  # noqa: S105
KERBEROS = "[libdefaults]\ndefault_realm = SHOP\n[realms]\nSHOP = {\nkdc = 127.0.0.1\n}\n"
KDC = f"""kdb5_util create -s -P secret && kadmin.local <<end
addprinc -pw "{PASSWORD}" ubuntu
addprinc -randkey host/$(hostname -f)
ktadd host/$(hostname -f)
end
echo ubuntu@SHOP >/root/.k5login && systemctl restart krb5-kdc"""


def allowed(action: str) -> str:
    """What lets the user do this without a question."""
    rule = f'if (action.id == "org.freedesktop.{action}" && subject.user == "ubuntu") {{ return polkit.Result.YES; }}'
    return f"echo 'polkit.addRule(function(action, subject) {{ {rule} }});' >/etc/polkit-1/rules.d/60-ubuntu.rules && systemctl restart polkit"


WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "sudo with a password": (
        "rm /etc/sudoers.d/90-cloud-init-users && echo 'ubuntu ALL=(ALL) ALL' >/etc/sudoers.d/ubuntu",
        {"ansible_become_password": PASSWORD},
    ),
    "sudo-rs": (
        "printf 'ubuntu ALL=(ALL:ALL) NOPASSWD: ALL\\n' >/etc/sudoers-rs && chmod 440 /etc/sudoers-rs",
        {"ansible_become_exe": "sudo-rs"},
    ),
    "su": ("", {"ansible_become_method": "ansible.builtin.su", "ansible_become_password": PASSWORD}),
    "doas": (
        "echo 'permit nopass ubuntu as root' >/etc/doas.conf && chmod 400 /etc/doas.conf",
        {"ansible_become_method": "community.general.doas"},
    ),
    "sudosu": ("", {"ansible_become_method": "community.general.sudosu", "ansible_become_password": PASSWORD}),
    "ksu": (
        KDC,
        {"ansible_become_method": "community.general.ksu", "ansible_become_user": "root", "ansible_become_password": PASSWORD},
    ),
    # Ansible's own plugin for it wants a terminal
    "run0": (allowed("systemd1.manage-units"), {"ansible_become_exe": "run0", "ansible_become_flags": "--pipe"}),
    "run0 in a terminal": (allowed("systemd1.manage-units"), {"ansible_become_method": "community.general.run0"}),
    "machinectl in a terminal": (
        allowed("machine1.host-shell"),
        {"ansible_become_method": "community.general.machinectl", "ansible_become_user": "root"},
    ),
}
TERMINAL = {"ANSIBLE_SSH_EXTRA_ARGS": "-tt"}  # of the inventory, Ansible reads this only after it has looked for a terminal


@pytest.fixture(scope="module")
def host(target: Target) -> Target:
    """A host with all of them, whose user has an umask that closes files to others, another language, and a PATH without root's programs."""
    target.run(f"apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends {PACKAGES} >/dev/null 2>&1")
    target.run("cat >/etc/krb5.conf", stdin=KERBEROS)
    target.run(f'printf \'%s\\n\' "root:{PASSWORD}" "ubuntu:{PASSWORD}" | chpasswd')
    target.run("sed -i 's/^UMASK.*/UMASK 077/' /etc/login.defs && echo 'session optional pam_umask.so umask=077' >>/etc/pam.d/common-session")
    target.run("echo 'de_DE.UTF-8 UTF-8' >/etc/locale.gen && locale-gen >/dev/null 2>&1 && echo LANG=de_DE.UTF-8 >/etc/default/locale")
    # coreutils in Rust take the place of GNU's for all programs, as on Ubuntu from 25.10 on
    target.run("cd /usr/bin && for one in $(coreutils --list); do ln -sf coreutils $one; done")
    assert target.run("readlink /usr/bin/ls") == "coreutils"
    return target


def absent_apps(host: Target) -> list[dict[str, Any]]:
    """All apps of the host, as those that are to go."""
    return [{"flask_app_name": name, "flask_app_state": "absent"} for name in host.run("ls /srv").split()]


@pytest.mark.parametrize("way", each(WAYS, "sudo with a password", "su"))
def test_an_app_is_removed_and_another_one_is_put_there(host: Target, way: str) -> None:
    """The web server reaches it. Nothing is left of the one before, which another way has put there, so that nginx has all of its files anew."""
    command, variables = WAYS[way]
    host.run(command or "true")
    gone, name = absent_apps(host), f"shop{list(WAYS).index(way)}"
    host.converge([*gone, app(name)], variables=variables, environment=TERMINAL if way.endswith("terminal") else None)
    assert host.get("/").json()["version"] == "one"
    assert host.run(f"stat -c '%a %U' /srv/{name} /etc/nginx/flaskops /etc/nginx/sites-enabled | sort -u") == "755 root"
    assert host.run("ls /srv /etc/nginx/flaskops/80").split() == ["/etc/nginx/flaskops/80:", f"{name}.conf", "/srv:", name]


def test_the_last_app_is_removed(host: Target) -> None:
    """By the first way, which has put one there and removed none."""
    host.converge(absent_apps(host), variables=next(iter(WAYS.values()))[1])
    assert not host.succeeds("ls /srv/* || test -e /etc/nginx/flaskops")
