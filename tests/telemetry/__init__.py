"""The log's outlets against the real thing: a real Elasticsearch."""
