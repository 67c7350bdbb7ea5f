"""Example service: document."""
