"""From raw documents to token shards, with a ledger that adds up to the input."""
