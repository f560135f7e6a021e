"""Two pages and a redirect: every address in them comes from url_for, so they work under any mount."""

from flask import Flask, redirect, render_template, url_for

app = Flask(__name__)


@app.get("/")
def index():
    """The first page."""
    return render_template("index.html", message="Hello from basic_flask")


@app.get("/about")
def about():
    """The second page."""
    return render_template("about.html")


@app.get("/go")
def go():
    """The way to the second page."""
    return redirect(url_for("about"))
