-- Hyperpage on SQLite, as such applications do it: text ids, milliseconds since 1970 as integers, JSON as text.

CREATE TABLE users (
  id TEXT NOT NULL PRIMARY KEY,            -- a lower-case UUID
  email TEXT NOT NULL UNIQUE,
  name TEXT NOT NULL DEFAULT '',
  is_admin BOOLEAN NOT NULL DEFAULT 0,
  score REAL,
  avatar BLOB,
  token TEXT NOT NULL,                     -- of the request that wrote the row last
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
);

CREATE TABLE oauth_tokens (
  user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  provider TEXT NOT NULL,
  access_token TEXT NOT NULL,
  expires_at INTEGER,
  PRIMARY KEY (user_id, provider)
);

CREATE TABLE user_sessions (
  id TEXT NOT NULL PRIMARY KEY,            -- a lower-case UUID
  user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  data TEXT NOT NULL DEFAULT '{}',         -- JSON
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL
);
CREATE INDEX user_sessions_user ON user_sessions (user_id);

CREATE TABLE tool_configs (
  id TEXT NOT NULL PRIMARY KEY,
  name TEXT NOT NULL,
  enabled BOOLEAN NOT NULL DEFAULT 1,
  config TEXT NOT NULL DEFAULT '{}',       -- JSON
  token TEXT NOT NULL,
  updated_at INTEGER NOT NULL
);

CREATE TABLE rate_limits (
  key TEXT NOT NULL PRIMARY KEY,
  remaining REAL NOT NULL,
  token TEXT NOT NULL,
  updated_at INTEGER NOT NULL
);

CREATE TABLE jobs (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  user_id TEXT REFERENCES users (id) ON DELETE SET NULL,
  type TEXT NOT NULL,
  status TEXT NOT NULL DEFAULT 'queued',
  payload TEXT NOT NULL DEFAULT '{}',      -- JSON
  attempts INTEGER NOT NULL DEFAULT 0,
  token TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
);
CREATE INDEX jobs_status ON jobs (status, created_at);

CREATE TABLE job_history (                 -- a log: no key, and it outlives the job
  job_id INTEGER NOT NULL,
  at INTEGER NOT NULL,
  token TEXT NOT NULL,
  message TEXT NOT NULL
);

CREATE TABLE app_state (
  key TEXT NOT NULL PRIMARY KEY,
  value TEXT NOT NULL,
  updated_at INTEGER NOT NULL
);
