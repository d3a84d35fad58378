"""Which PostgreSQL types and codecs a column may get: `case` has what both modes share."""
