"""SQLite's expressions in PostgreSQL's words: exact, or not at all (decision 15).

sqlglot reads the SQL; what is written comes from an allow-list of nodes whose meaning is the same on both
engines: storage classes, affinities, collations and three-valued logic included. A translated expression
gives what SQLite's gives, or PostgreSQL refuses the row with an error (a number out of range); never another
value.
"""

from __future__ import annotations

from turnback.core.expressions.names import Names as Names
from turnback.core.expressions.names import of_table as of_table
from turnback.core.expressions.terms import Term as Term
from turnback.core.expressions.terms import Unknown as Unknown
from turnback.core.expressions.translate import ALWAYS as ALWAYS
from turnback.core.expressions.translate import Translation as Translation
from turnback.core.expressions.translate import parsed as parsed
