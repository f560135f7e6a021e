"""A page and a JSON endpoint."""

from flask import Flask, render_template

app = Flask(__name__)


@app.get("/")
def index():
    """The page."""
    return render_template("index.html")


@app.route("/api2", methods=["GET", "POST"])
def api2():
    """What a program asks for."""
    return {"server_status": 201, "description": "Hello from python"}, 201
