"""What is in a batch's journal, for tests that use public names only: a file of SQLite with one row an item."""

import sqlite3
from contextlib import closing


def rows(path, *columns):
    """Return these columns of all items."""
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True)) as database:
        return database.execute(f"SELECT {', '.join(columns)} FROM items").fetchall()


def states(path):
    """Return the state of each item by its name, as a later run will find it."""
    return dict(rows(path, "name", "state"))
