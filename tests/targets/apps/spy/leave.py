"""Leave a process behind that nobody has started: forked twice, in a session of its own."""

from __future__ import annotations

import os
import time


def leave(seconds: int) -> None:
    """Return at once; the process that is left behind sleeps for so long."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            for descriptor in range(3):
                os.close(descriptor)
            os.execvp("sleep", ["sleep", str(seconds)])
        os._exit(0)
    os.wait()
    time.sleep(1)  # so that who looks for this process finds it
