"""Health, the events' small API, Wagtail's admin and its pages."""

from django.urls import include, path
from events import views
from wagtail import urls as wagtail_urls
from wagtail.admin import urls as wagtailadmin_urls

urlpatterns = [
    path("api/health", views.health),
    path("api/events", views.events),
    path("admin/", include(wagtailadmin_urls)),
    path("", include(wagtail_urls)),
]
