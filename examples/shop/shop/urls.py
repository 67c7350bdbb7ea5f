"""URLs of the shop: the admin, and the gateway's pages and probes."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("", include("gateway_app.hosted_urls")),
]
