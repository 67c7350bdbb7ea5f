"""URLs of the gateway."""

from django.contrib import admin
from django.urls import path, re_path
from django.views.generic import RedirectView

from gateway_app.http.bus_routes import bus_route
from gateway_app.http.probes import health, ready

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", admin.site.urls),
    path("health", health),
    path("ready", ready),
    # Whatever is below belongs to the services: their registered routes decide.
    re_path(r"^api(?:/.*)?$", bus_route),
]
