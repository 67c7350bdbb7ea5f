"""The trace that a request belongs to: the client's, or a new one; with a span where there are."""

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

from starlette.requests import Request

from gateway_app import bus
from gateway_app.http.headers import traceparent
from gateway_app.http.matching import Target
from gateway_app.http.problem import Problem


@contextmanager
def served(request: Request, target: Target) -> Iterator[str]:
    """Cover the answering of a request; yield the ``traceparent`` of all that it leads to.

    The instance that it is passed on to gets the same.
    """
    given = traceparent(request.scope["headers"])
    name = f"{request.method} {target.path}"
    with bus.communicator.spans.serving(name, given.decode()) as (span, trace):
        if span is not None:
            headers = request.scope["headers"]
            others = [pair for pair in headers if pair[0] != b"traceparent"]
            headers[:] = [*others, (b"traceparent", trace.encode())]
        try:
            yield trace
        except Problem as problem:
            if span is not None and problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                span.fail(f"{problem.status}")
            raise
