"""Example service: user."""
