"""Any type <-> SQLite text that is exactly what PostgreSQL prints of it. Only by choice (HAZARDS R5).

Whether a text comes back, only the server can say: assess asks it for every value
(docs/decisions/0014-the-server-tries-what-only-it-can.md).
"""

from __future__ import annotations

from turnback.core.codecs.protocol import Codec
from turnback.core.codecs.text import Text
from turnback.core.plan import ColumnPlan


def verbatim(column: ColumnPlan) -> Codec:
    return Text()
