"""One model with every field type whose form differs between Django's two backends, and a page."""

import uuid

from django.conf import settings
from django.db import models
from taggit.managers import TaggableManager
from taggit.models import GenericUUIDTaggedItemBase, TaggedItemBase
from wagtail import blocks
from wagtail.fields import RichTextField, StreamField
from wagtail.models import Page


class EventPage(Page):
    body = StreamField([("paragraph", blocks.RichTextBlock()), ("quote", blocks.CharBlock())], blank=True)
    intro = RichTextField(blank=True)
    template = "events/event_page.html"


class TaggedEvent(GenericUUIDTaggedItemBase, TaggedItemBase):
    """An event's key is a UUID, and so is what a tag refers to."""


class Event(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    page = models.ForeignKey(EventPage, null=True, on_delete=models.SET_NULL, related_name="events")
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL)
    follows = models.ForeignKey("self", null=True, on_delete=models.SET_NULL)
    name = models.CharField(max_length=80, unique=True)
    slug = models.SlugField(max_length=80)
    notes = models.TextField(blank=True)
    duration = models.DurationField(null=True)
    address = models.GenericIPAddressField(null=True)
    price = models.DecimalField(max_digits=12, decimal_places=2, null=True)
    rating = models.FloatField(null=True)
    seats = models.PositiveIntegerField(default=0)
    serial = models.BigIntegerField(null=True)
    day = models.DateField(null=True)
    opens = models.TimeField(null=True)
    starts = models.DateTimeField(null=True)
    details = models.JSONField(default=dict)
    ticket = models.BinaryField(null=True)
    public = models.BooleanField(null=True)
    created = models.DateTimeField(auto_now_add=True)
    changed = models.DateTimeField(auto_now=True)
    tags = TaggableManager(blank=True, through=TaggedEvent)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=models.Q(seats__lte=1_000_000), name="seats_bounded"),
            models.UniqueConstraint(
                fields=["slug"], condition=models.Q(public=True), name="public_slug_unique"
            ),
        ]
        indexes = [models.Index(fields=["-starts"], name="newest_first")]
