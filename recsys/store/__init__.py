"""Products on disk: stages, checksums, locks, the journal, exchange between processes."""
