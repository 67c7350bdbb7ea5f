"""URLs that Django answers; `http.application` answers ``/api/`` and ``/bus/`` before it."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="ops:overview")),
    path("admin/", admin.site.urls),
    path("", include("gateway_app.hosted_urls")),
]
