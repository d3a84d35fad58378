"""SQLite files that hold what breaks between the engines: one per hazard, and one of everything that is carried."""
