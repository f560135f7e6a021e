"""A greeting, and the process that it comes from."""

import os
import pwd

from flask import Flask

app = Flask(__name__)


@app.get("/")
def hello():
    """The greeting."""
    return "hello world!"


@app.get("/process")
def process():
    """Who runs this app, and below which process."""
    asked = (os.getpid, os.getppid, os.geteuid, os.getegid, os.getgroups, os.getresuid, os.getresgid)
    return {"login": pwd.getpwuid(os.getuid()).pw_name, **{ask.__name__: ask() for ask in asked}}
