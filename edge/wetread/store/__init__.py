"""What we have: the spool on disk, its index in the database, revisions and completeness."""
