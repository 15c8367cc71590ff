"""Results out: a durable outbox and the destinations it is emptied into."""
