"""Holds the write lock of a SQLite database until it is killed: `python -m … FILE`."""

import signal
import sqlite3
import sys

connection = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
signal.pause()
