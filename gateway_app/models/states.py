"""How an instance, or a service as a whole, is doing."""

from django.db import models


class State(models.TextChoices):
    """How an instance, or a service as a whole, is doing."""

    UP = "UP"
    #: Silent for a while; still trusted with requests.
    SUSPECT = "SUSPECT"
    #: Taken out by hand.
    MAINTENANCE = "MAINTENANCE"
    #: Nothing has been heard of it yet, or it has been forgotten.
    UNKNOWN = "UNKNOWN"
    DOWN = "DOWN"


#: From best to worst: a service is as well as its best instance.
BEST_FIRST: tuple[State, ...] = tuple(State)

#: Instances in these states get requests.
SERVING: tuple[State, ...] = (State.UP, State.SUSPECT)


def best_of(states: list[str]) -> State:
    """Return the state of a service whose instances are in these states; DOWN if it has none."""
    return min(map(State, states), key=BEST_FIRST.index, default=State.DOWN)
