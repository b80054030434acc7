//! Data sets with provenance: registry, fetch, verify, decode; the user's own tables
