"""user-service: who the users are, and what happened to their documents lately."""
