"""What runs beside the app: a worker that writes the time to a file, and a job that empties it."""

import signal
import sys
import time
from pathlib import Path

CLOCK = Path(__file__).parent / "data" / "clock"


def run():
    """Write the time each second until asked to end."""
    ending = []
    signal.signal(signal.SIGTERM, lambda *_: ending.append(True))
    while not ending:
        CLOCK.write_text(time.strftime("%H:%M:%S\n"))
        time.sleep(1)


def reset():
    """Empty the file."""
    CLOCK.write_text("")


if __name__ == "__main__":
    {"run": run, "reset": reset}[sys.argv[1]]()
