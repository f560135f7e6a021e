"""A machine on which a user runs Ansible: the collection is installed there from its tarball, without a checkout."""

from __future__ import annotations

import io
import re
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.flaskops.hosting.tests.documents import Block
from ansible_collections.flaskops.hosting.tests.targets.harness import ROOT, Play, Target

HOME = Path("/home/me")
COLLECTION = HOME / ".ansible/collections/ansible_collections/flaskops/hosting"
COMMAND_SECONDS = 1200


@dataclass
class Controller:
    """A container with Ansible, and the account of its user, `me`."""

    target: Target

    @property
    def container(self) -> str:
        """The container's name."""
        return f"flaskops-{self.target.name}"

    @property
    def log(self) -> Path:
        """The log of the user's commands and their output."""
        path = ROOT / f".cache/logs/{self.target.name}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def prepare(self, *hosts: str) -> None:
        """Give the user an SSH key that the hosts at these addresses accept, and log in to each once."""
        self.write(".ssh/id_ed25519", (ROOT / ".cache/ssh/id_ed25519").read_bytes(), 0o600)
        self.write(".ssh/id_ed25519.pub", (ROOT / ".cache/ssh/id_ed25519.pub").read_bytes())
        for host in hosts:
            self.succeed(f"ssh -o StrictHostKeyChecking=accept-new {host} true")

    def install(self, tarball: Path) -> Play:
        """Install the collection if it is missing."""
        self.write(tarball.name, tarball.read_bytes())
        assert not self.target.succeeds(f"test -e {HOME}/.ansible/collections")
        # offline, because its dependencies came with the package `ansible`
        return self.succeed(f"ansible-galaxy collection install --offline {tarball.name}")

    def write(self, path: Path | str, content: bytes, mode: int = 0o644) -> None:
        """Write a file of the user; a relative path is below the user's home."""
        self.unpack(HOME, {str(path): (content, mode)})

    def unpack(self, directory: Path, files: dict[str, tuple[bytes, int]]) -> None:
        """Write several files of the user below a directory, each with its mode."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            for name, (content, mode) in files.items():
                member = tarfile.TarInfo(name)
                member.size, member.mode = len(content), mode
                archive.addfile(member, io.BytesIO(content))
        self._execute("tar", "--extract", f"--directory={directory}", stdin=packed.getvalue())

    def type(self, command: str) -> Play:
        """Run a command line in the user's home; fails if it warns that something in this collection is deprecated."""
        done = self._execute("bash", "-c", command)
        output = done.stdout.decode(errors="replace")
        with self.log.open("a") as log:
            log.write(f"$ {command}\n{output}\n")
        # amazon.aws warns about names of its own that are not used here
        assert all(text.startswith("amazon.aws.") for text in re.findall(r"\[DEPRECATION WARNING\]: *(.*)", output)), output
        return Play(done.returncode, output)

    def succeed(self, command: str) -> Play:
        """Run a command line and check that it succeeds."""
        play = self.type(command)
        assert play.returncode == 0, f"{command}\n{play.output}"
        return play

    def follow(self, blocks: list[Block]) -> list[Play]:
        """Follow a document exactly: write its files and type its commands, which must all succeed."""
        done = []
        for block in blocks:
            if block.file:
                self.write(block.file, block.text.encode())
            done += [self.succeed(command) for command in block.commands]
        return done

    def _execute(self, *words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        command = [f"{ROOT}/dev/docker", "exec", "--interactive", "--user=me", f"--workdir={HOME}", f"--env=HOME={HOME}", "--env=ANSIBLE_NOCOLOR=1"]
        return subprocess.run(
            [*command, self.container, *words], input=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=COMMAND_SECONDS, check=False
        )
