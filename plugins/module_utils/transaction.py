# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Files and links that go onto a host together, or not at all."""

from __future__ import annotations

# pylint: disable=ansible-bad-function  # run_command is an AnsibleModule's, and none is at hand here
import contextlib
import dataclasses
import fcntl
import grp
import json
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable

JOURNAL = Path("/var/lib/flaskops/transaction")
SCRATCH = ".flaskops-"  # how the directories begin in which a file is made, beside its place
MADE = "made"  # in the journal, a directory that a change needs and that is not there


class TransactionError(Exception):
    """The change cannot be made; everything is as it was before."""


@dataclass(frozen=True)
class Change:
    """What one path must be: a file with this content, a link, or nothing; or what a file must have in place of some text.

    ``kind`` is ``file``, ``link``, ``absent``, ``edit``, or ``not empty`` for a directory that goes if nothing is left in it; ``content`` is for
    files, ``target`` for links, ``replace`` and ``by`` for edits.
    """

    path: Path
    kind: str
    content: bytes = b""
    target: str = ""
    mode: int = 0o644
    owner: str = "root"
    group: str = "root"
    secret: bool = False
    replace: str = ""
    by: str = ""

    @classmethod
    def from_entry(cls, entry: dict[str, Any]) -> Change:
        """Read one entry of the ``files`` option. Raises ``TransactionError`` for an entry that makes no sense."""
        if entry.get("state") == "absent":
            return cls(Path(entry.get("link") or entry["dest"]), "absent")
        if entry.get("link"):
            return cls(Path(entry["link"]), "link", target=entry["to"])
        if entry.get("replace"):
            return cls(Path(entry["dest"]), "edit", replace=entry["replace"], by=entry["by"])
        try:
            mode = int(entry.get("mode") or "0644", 8)
        except ValueError as error:
            raise TransactionError(f'mode: got {entry["mode"]!r}; give octal digits in quotes, such as "0644"') from error
        return cls(
            Path(entry["dest"]),
            "file",
            content=(entry.get("content") or "").encode(),
            mode=mode,
            owner=entry.get("owner") or "root",
            group=entry.get("group") or "root",
            secret=bool(entry.get("secret")),
        )

    @classmethod
    def of_file(cls, path: Path, source: Path) -> Change:
        """Make a path the same file as another one, with its mode and owners."""
        found = source.stat()
        owner, group = _owner_names(found)
        return cls(path, "file", source.read_bytes(), mode=stat.S_IMODE(found.st_mode), owner=owner, group=group)

    def is_in_place(self) -> bool:
        """Tell whether the path is already what it must be."""
        if self.kind == "edit":  # in a dry run, the file may come with a package; one that is kept elsewhere, behind a link, is left as it is
            return self.path.is_symlink() or (self.path.is_file() and self.replace.encode() not in self.path.read_bytes())
        try:
            found = self.path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return self.kind in ("absent", "not empty")
        if self.kind in ("absent", "not empty"):
            return False
        if self.kind == "link":
            return stat.S_ISLNK(found.st_mode) and os.readlink(self.path) == self.target
        return (
            stat.S_ISREG(found.st_mode)
            and stat.S_IMODE(found.st_mode) == self.mode
            and _owner_names(found) == (self.owner, self.group)
            and self.path.read_bytes() == self.content
        )

    def diff(self) -> dict[str, str]:
        """The change as Ansible's diff callback shows it; the content of a secret file is left out."""
        if self.kind == "edit":
            found = self.path.read_bytes().decode(errors="replace") if self.path.is_file() else f"{self.replace}\n"
            before, after = found, found.replace(self.replace, self.by)
            return {"before_header": str(self.path), "after_header": str(self.path), "before": before, "after": after}
        after = "" if self.kind in ("absent", "not empty") else self._describe_wanted()
        return {
            "before_header": str(self.path),
            "after_header": str(self.path),
            "before": _describe_found(self.path, self.secret),
            "after": after,
        }

    def _describe_wanted(self) -> str:
        if self.kind == "link":
            return f"link to {self.target}\n"
        content = "(secret)\n" if self.secret else self.content.decode(errors="replace")
        return f"# {self.owner}:{self.group} {self.mode:04o}\n{content}"

    def apply(self) -> None:
        """Make the path what it must be; a file is replaced in one step, so no reader sees half of it."""
        if self.kind == "absent":
            _remove(self.path)
            return
        if self.kind == "edit":
            self._edited().apply()
            return
        if self.kind == "not empty":
            with contextlib.suppress(OSError):  # somebody has put something there in between
                self.path.rmdir()
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.is_dir() and not self.path.is_symlink():
            raise TransactionError(f"{self.path} is a directory; a {self.kind} was to be put there")
        scratch = Path(tempfile.mkdtemp(prefix=SCRATCH, dir=self.path.parent))
        try:
            new = scratch / "new"
            if self.kind == "link":
                new.symlink_to(self.target)
            else:
                new.touch(mode=0o600)
                new.write_bytes(self.content)
                shutil.chown(new, self.owner, self.group)
                new.chmod(self.mode)
            os.replace(new, self.path)
        finally:
            shutil.rmtree(scratch)

    def _edited(self) -> Change:
        """The edited file as a whole. Raises ``TransactionError`` if it is not there."""
        if not self.path.is_file():
            raise TransactionError(f"{self.path} is not there; {self.replace!r} was to be replaced in it")
        found = Change.of_file(self.path, self.path)
        return dataclasses.replace(found, content=found.content.replace(self.replace.encode(), self.by.encode()))


@dataclass
class Transaction:
    """A list of changes that is written as a whole, tested as a whole, and put back as a whole.

    What was there before is kept in a journal until the end, so that a run that is killed half-way is put
    back by the next one: the lock tells whether the journal's owner still lives.
    """

    changes: list[Change]
    journal: Path = field(default=JOURNAL)

    def pending(self) -> list[Change]:
        """The changes that are not in place yet."""
        return [change for change in self.changes if not change.is_in_place()]

    def commit(
        self, changes: list[Change], accept: Callable[[], None], prepare: Callable[[], None] = lambda: None, note: dict[str, Any] | None = None
    ) -> None:
        """Call ``prepare``, make the changes, call ``accept``; whatever these raise puts everything back and is raised again.

        ``note`` is kept with the journal, for ``unfinished``.
        """
        self._remember(changes, note or {})
        try:
            prepare()
            for change in changes:
                change.apply()
            accept()
        except BaseException:
            self.recover()
            raise
        shutil.rmtree(self.journal)

    def lock(self) -> Any:
        """Wait for any other transaction on this host; the lock ends with the returned file or its process."""
        self.journal.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = open(self.journal.with_suffix(".lock"), "w", encoding="utf-8")
        fcntl.flock(handle, fcntl.LOCK_EX)
        return handle

    def unfinished(self) -> dict[str, Any] | None:
        """The ``note`` of a transaction that was killed half-way; ``None`` if there is none to put back."""
        index = self._index()
        return index and index["note"]

    def recover(self) -> bool:
        """Put back what an unfinished transaction changed; tells whether there was one."""
        index = self._index()
        for path, kind, backup in reversed(index["paths"] if index else []):
            _put_back(Path(path), kind, self.journal / backup if backup else None)
        if self.journal.exists():
            shutil.rmtree(self.journal)
        return index is not None

    def _index(self) -> dict[str, Any] | None:
        path = self.journal / "index.json"
        index = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
        if isinstance(index, list):  # 0.1.0's
            return {"note": {}, "paths": [(path, "", backup) for path, backup in index]}
        return index

    def _remember(self, changes: list[Change], note: dict[str, Any]) -> None:
        self.journal.mkdir(mode=0o700, parents=True)
        saved: list[tuple[str, str, str]] = []  # path, kind and backup; none if it was not there
        for number, change in enumerate(changes):
            saved += [(str(parent), MADE, "") for parent in _missing_parents(change)]
            existed = os.path.lexists(change.path)
            if existed:
                _back_up(change, self.journal / str(number))
            saved.append((str(change.path), change.kind, str(number) if existed else ""))
        index = self.journal / "index.json.new"
        index.write_text(json.dumps({"note": note, "paths": saved}), encoding="utf-8")
        os.replace(index, self.journal / "index.json")


def _missing_parents(change: Change) -> Iterator[Path]:
    if change.kind in ("file", "link"):
        yield from reversed([parent for parent in change.path.parents if not parent.exists()])


def _back_up(change: Change, backup: Path) -> None:
    if change.kind == "not empty":  # what is in it is none of its business
        found = change.path.stat()
        backup.mkdir()
        os.chown(backup, found.st_uid, found.st_gid)
        shutil.copystat(change.path, backup)
    else:
        _copy(change.path, backup)


def _put_back(path: Path, kind: str, backup: Path | None) -> None:
    if kind == MADE:
        with contextlib.suppress(OSError):  # somebody else has put something there, or it was never made
            path.rmdir()
        return
    if kind == "not empty" and path.is_dir():
        return
    for scratch in filter(Path.is_dir, path.parent.glob(f"{SCRATCH}*")):  # of a run that was killed while it wrote there
        shutil.rmtree(scratch)
    _remove(path)
    if backup:
        path.parent.mkdir(parents=True, exist_ok=True)
        _copy(backup, path)


def _owner_names(found: os.stat_result) -> tuple[str, str]:
    try:
        return pwd.getpwuid(found.st_uid).pw_name, grp.getgrgid(found.st_gid).gr_name
    except KeyError:
        return str(found.st_uid), str(found.st_gid)


def _describe_found(path: Path, secret: bool) -> str:
    if path.is_symlink():
        return f"link to {os.readlink(path)}\n"
    if not path.exists():
        return ""
    if path.is_dir():
        return "".join(f"{inside}\n" for inside in sorted(path.rglob("*")))
    found = path.stat()
    owner, group = _owner_names(found)
    content = "(secret)\n" if secret else path.read_bytes().decode(errors="replace")
    return f"# {owner}:{group} {stat.S_IMODE(found.st_mode):04o}\n{content}"


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _copy(source: Path, target: Path) -> None:
    # cp keeps owners, modes, times and links of a whole tree; shutil loses the owners. The target is never there.
    subprocess.run(["cp", "--archive", "--", str(source), str(target)], check=True)
