"""The machines in the documents' examples: a host at 192.0.2.10, and a private git repository at git.example.com."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from ansible_collections.flaskops.hosting.tests.controllers.controller import HOME, Controller
from ansible_collections.flaskops.hosting.tests.targets.harness import ROOT, Target

# RFC 5737 reserves this range for documents, so it conflicts with nobody's network.
NETWORK, SUBNET, DOCUMENTED = "flaskops-documents", "192.0.2.0/24", "192.0.2.10"


@contextlib.contextmanager
def at_the_documents_address(host: Target, controller: Target) -> Iterator[None]:
    """Make the host reachable for the controller at 192.0.2.10."""
    docker("network", "rm", NETWORK, check=False)  # left by a killed run
    docker("network", "create", f"--subnet={SUBNET}", NETWORK)
    try:
        docker("network", "connect", f"--ip={DOCUMENTED}", NETWORK, f"flaskops-{host.name}")
        docker("network", "connect", NETWORK, f"flaskops-{controller.name}")
        yield
    finally:
        for one in (host, controller):
            docker("network", "disconnect", "--force", NETWORK, f"flaskops-{one.name}", check=False)
        docker("network", "rm", NETWORK)


def serve_git(controller: Controller, repository: str, files: dict[str, str], branch: str) -> None:
    """Serve a repository with these files at git@git.example.com to the controller's user; the first directory is not part of the paths."""
    machine = controller.target
    machine.run("useradd --create-home --shell /usr/bin/git-shell git && echo 127.0.0.1 git.example.com >>/etc/hosts")
    machine.run(f"install -d -o git /home/git/.ssh && ssh-keygen -y -f {HOME}/.ssh/id_ed25519 >/home/git/.ssh/authorized_keys")
    machine.run(f"runuser --user git -- git init --quiet --bare --initial-branch={branch} /home/git/{repository}")
    controller.succeed("ssh -o StrictHostKeyChecking=accept-new git@git.example.com 2>&1 | grep -q git-shell || true")
    work = f"work/{repository}"
    for name, text in files.items():
        controller.write(f"{work}/{Path(name).relative_to(Path(name).parts[0])}", text.encode())
    identity = "-c user.name=me -c user.email=me@example.com"
    controller.succeed(
        f"cd {work} && git init --quiet --initial-branch={branch} && git add . && git {identity} commit --quiet -m App"
        f" && git push --quiet git@git.example.com:{repository} HEAD:{branch}"
    )


def docker(*words: str, check: bool = True) -> None:
    """Run docker."""
    done = subprocess.run([ROOT / "dev/docker", *words], capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, f"docker {' '.join(words)}: {done.stderr}"
