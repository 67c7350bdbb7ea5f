"""Step 2: one service is asked and answers."""

from gateway_app.tour.stage import Stage, Step, require


def _play(stage: Stage) -> str:
    user = stage.communicator.request("user-service", "get.user.details", {"userId": 123})
    require(user.get("userId") == 123, f"answered {user}")
    return f"user {user['userId']} is {user['name']}, {user['email']}"


STEP = Step(
    title="A request and its answer",
    expected="user-service answers get.user.details with user 123",
    play=_play,
)
