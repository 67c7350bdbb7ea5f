"""URLs that Django answers; `http.application` answers ``/api/`` and ``/bus/`` before it."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from gateway_app.http.probes import health, metrics, ready

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="ops:overview")),
    path("ops/", include("gateway_app.ops.urls")),
    path("admin/", admin.site.urls),
    path("health", health),
    path("ready", ready),
    path("metrics", metrics),
]
