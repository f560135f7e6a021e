"""A Flask app that makes URLs, redirects, and serves a page and static files."""

from __future__ import annotations

from flask import Flask, redirect, request, url_for

app = Flask(__name__)


@app.get("/")
def index():
    """Where the app thinks it is, and the query it got."""
    return {"item": url_for("item", number=7), "style": url_for("static", filename="style.css"), "query": request.query_string.decode()}


@app.get("/items/<int:number>")
def item(number: int):
    """One item."""
    return {"number": number, "url": request.url, "path": request.path, "root": request.script_root}


@app.post("/items")
def add():
    """Redirect to what was added."""
    return redirect(url_for("item", number=8), code=303)


@app.get("/folder/")
def folder():
    """Flask itself redirects `/folder` to this one."""
    return "folder"
