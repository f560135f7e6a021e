# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The words of the command of hosts that the controller needs too; apart from it, because it imports most of what runs on hosts."""

from __future__ import annotations

NAME = "flaskops"
COMPLETE = "--complete"  # before the words of a line that is being typed
