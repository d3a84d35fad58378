"""From the schemas of both sides, the census and the user's choices to the plan and the findings.

`create` makes the PostgreSQL schema; `existing` meets one that the application has made.
"""
