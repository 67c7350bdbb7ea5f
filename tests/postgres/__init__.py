"""Tests of processes on PostgreSQL: `make test-postgres` runs them, and lends them a server."""
