"""URLs of the gateway for a project that hosts it, and has an admin at an address of its own."""

from django.urls import include, path

from gateway_app.http.probes import health, metrics, ready

urlpatterns = [
    path("ops/", include("gateway_app.ops.urls")),
    path("health", health),
    path("ready", ready),
    path("metrics", metrics),
]
