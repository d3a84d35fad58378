"""How fast turnback is, as ratios to what the databases themselves need: `python -m benchmarks`.

rollback   stop-to-healthy with a small and a large database and the same traffic
load       rows/s of migrate's copy, against the server's own COPY of a ready file
capture    commit in PostgreSQL to commit in SQLite, and catching up, against the server's own decoding
compare    rows/s of the comparison, against COPY TO /dev/null
"""
