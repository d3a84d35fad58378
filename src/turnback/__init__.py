"""turnback: from SQLite to PostgreSQL, with a lossless way back."""

__version__ = "0.1.0"
