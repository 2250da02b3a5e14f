"""Where a fit is computed, as `[compute]` says: `options`, `worker` (what runs in another process), `common` (what
workers are sent once), `processes`, `cluster`."""
