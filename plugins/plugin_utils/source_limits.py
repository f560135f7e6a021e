# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What no source of an app may be, or be larger than."""

from __future__ import annotations

import stat

UNPACKED_AT_MOST = 2 << 30  # bytes of a source's files; no app has as many, and a zip bomb has more
FILES_AT_MOST = 200_000  # of a source
OTHER_KINDS = {  # of what is neither a file nor a link nor a directory, and not shipped
    stat.S_IFSOCK: "a socket", stat.S_IFIFO: "a pipe", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device",
}  # fmt: skip


class SourceError(Exception):
    """The source cannot be used; the message says which variable is wrong and what would be right."""
