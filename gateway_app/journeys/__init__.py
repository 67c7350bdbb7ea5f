"""Where one message has been: what led to it, what it led to, its attempts, and where time went.

From what this database has on record. What it has not is said to be missing, never guessed.
"""

from gateway_app.journeys.journey import Attempt, Journey, journey

__all__ = ["Attempt", "Journey", "journey"]
