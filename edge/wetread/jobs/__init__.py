"""Work: a durable queue in the database, and the executor that runs jobs in worker processes."""
