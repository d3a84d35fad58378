"""From the schemas of both sides, the census and the user's choices to the plan and the findings.

`map_create` makes the PostgreSQL schema; `map_existing` meets one that the application has made.
"""

from __future__ import annotations

from turnback.core.mapping_create import map_create as map_create
from turnback.core.mapping_existing import map_existing as map_existing
