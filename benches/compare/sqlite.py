"""How many tokens SQLite takes a second when each has a commit of its own: a row of a token and a row of the
audit log in one transaction, write-ahead log, every commit synced. One writer asks without a pause, which is the
most that SQLite can do; more writers wait for each other's lock. Prints one number.

    benches/compare/sqlite.py SECONDS FOLDER [PROCESSOR]
"""

import os
import sqlite3
import sys
import tempfile
import time

seconds = float(sys.argv[1])
if len(sys.argv) > 3:
    os.sched_setaffinity(0, {int(sys.argv[3])})
with tempfile.TemporaryDirectory(dir=sys.argv[2]) as folder:
    store = sqlite3.connect(os.path.join(folder, "tokens.db"), isolation_level=None)
    store.execute("PRAGMA journal_mode = WAL")
    store.execute("PRAGMA synchronous = FULL")
    store.execute("CREATE TABLE tokens (id BLOB PRIMARY KEY, hash BLOB, owner BLOB, name TEXT, made INTEGER) WITHOUT ROWID")
    store.execute("CREATE TABLE audit (seq INTEGER PRIMARY KEY, at INTEGER, actor BLOB, action TEXT, entry TEXT)")
    owner, entry = os.urandom(16), "e" * 200
    made, began = 0, time.monotonic()
    while time.monotonic() - began < seconds:
        now = time.time_ns() // 1_000_000
        store.execute("BEGIN IMMEDIATE")
        key = now.to_bytes(6, "big") + os.urandom(10)
        store.execute("INSERT INTO tokens VALUES (?, ?, ?, 'bench', ?)", (key, os.urandom(32), owner, now))
        store.execute("INSERT INTO audit VALUES (NULL, ?, ?, 'token.create', ?)", (now, owner, entry))
        store.execute("COMMIT")
        made += 1
    print(made / (time.monotonic() - began))
