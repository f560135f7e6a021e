"""The smallest app."""

from flask import Flask

app = Flask(__name__)


@app.get("/")
def hello_world():
    """The greeting."""
    return "Hello World!"
