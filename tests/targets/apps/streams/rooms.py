"""The same with Flask-SocketIO."""

from __future__ import annotations

from flask_socketio import SocketIO, emit
from main import VERSION, plain

app = plain
rooms = SocketIO(app, async_mode="gevent")


@rooms.on("say")
def say(text):
    emit("said", f"{VERSION} {text}")
