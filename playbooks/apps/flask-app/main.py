"""The products of a database as JSON; without a database, a greeting."""

import os

import pymysql
from flask import Flask, jsonify
from pymysql.cursors import DictCursor

app = Flask(__name__)
app.json.ensure_ascii = False  # Japanese names as they are, not as \u escapes


def connect():
    """A connection to the database that the environment names."""
    return pymysql.connect(
        host=os.environ["DATABASE_HOST"],
        port=int(os.environ["DATABASE_PORT"]),
        database=os.environ["DATABASE_NAME"],
        user=os.environ["DATABASE_USER"],
        password=os.environ["DATABASE_PASSWORD"],
        charset="utf8mb4",
        cursorclass=DictCursor,
        connect_timeout=5,
    )


@app.get("/")
def products():
    """All products, in the order in which they were entered."""
    if "DATABASE_NAME" not in os.environ:
        return jsonify(message="Hello World!")
    with connect() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT id, name, price FROM product ORDER BY id")
        return jsonify(cursor.fetchall())
