"""Pages, users, revisions, redirects and events, made through Wagtail's and Django's own interfaces.

`fill first` makes the site; `fill more` writes what an application writes on its second database: new rows,
changed ones, deleted ones, a revision, a moved page.
"""

import datetime as dt
import decimal
import ipaddress
import random
import uuid

from django.contrib.auth.models import Group, User
from django.core.management.base import BaseCommand
from django.utils import timezone
from wagtail.contrib.redirects.models import Redirect
from wagtail.models import Collection, Page, Site

from events.models import Event, EventPage

ODD = ["plain", "Ünïcode – 漢字 🐘", "quote ' and \" and \\", "line\nbreak\ttab", " padded ", ""]
MOMENTS = [
    dt.datetime(2024, 3, 31, 1, 30, tzinfo=dt.UTC),
    dt.datetime(2024, 10, 27, 0, 30, 0, 123456, tzinfo=dt.UTC),
    dt.datetime(1969, 12, 31, 23, 59, 59, 1, tzinfo=dt.UTC),
    dt.datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=dt.UTC),
]
DURATIONS = [
    dt.timedelta(),
    dt.timedelta(microseconds=14649),
    dt.timedelta(days=-3, seconds=5),
    dt.timedelta(days=40_000, hours=7),
]
ADDRESSES = ["192.0.2.1", "2001:db8::1", "::1", "255.255.255.255"]
DETAILS = [
    {},
    {"b": 1, "a": [1.5, True, None, "x"]},
    {"nested": {"ключ": "значение", "n": 12345678901234567890}},
    [1, 2, 3],
    "text",
]


def event(number: int, page: EventPage | None, owner: User | None, before: Event | None) -> Event:
    choose = random.Random(number)
    address = ipaddress.IPv6Address(choose.getrandbits(128)) if number % 3 else choose.choice(ADDRESSES)
    return Event.objects.create(
        page=page,
        owner=owner,
        follows=before,
        name=f"event {number}",
        slug=f"event-{number}",
        notes=choose.choice(ODD),
        duration=choose.choice([*DURATIONS, None]),
        address=str(address),
        price=decimal.Decimal(choose.randrange(-(10**9), 10**9)) / 100,
        rating=choose.choice([0.1, -2.5e-300, 1e300, 3.0, None]),
        seats=choose.randrange(1_000),
        serial=choose.choice([2**62, -(2**63), 0, None]),
        day=choose.choice([dt.date(2024, 2, 29), dt.date(1, 1, 1), None]),
        opens=choose.choice([dt.time(9), dt.time(23, 59, 59, 999999), None]),
        starts=choose.choice([*MOMENTS, None]),
        details=choose.choice(DETAILS),
        ticket=choose.choice([b"\x00\xff[", b"", None]),
        public=choose.choice([True, False, None]),
    )


class Command(BaseCommand):
    help = "fill first | fill more"

    def add_arguments(self, parser):
        parser.add_argument("what", choices=["first", "more"])

    def handle(self, *args, **options):
        random.seed(7)
        getattr(self, options["what"])()

    def first(self):
        editors, _ = Group.objects.get_or_create(name="Staff")
        users = [User.objects.create_user(f"user{n}", f"user{n}@example.org", "secret") for n in range(5)]
        for user in users:
            user.groups.add(editors)
        User.objects.create_superuser("admin", "admin@example.org", "secret")
        home = Page.objects.get(depth=2)
        index = home.add_child(instance=EventPage(title="Events", slug="events", owner=users[0]))
        Site.objects.update(root_page=home)
        Collection.get_first_root_node().add_child(name="Pictures")
        before = None
        for n in range(40):
            page = index.add_child(
                instance=EventPage(
                    title=f"Event {n} {ODD[n % len(ODD)].strip()}"[:80],
                    slug=f"event-{n}",
                    intro=f"<p>{n}</p>",
                    owner=users[n % 5],
                    body=[("quote", ODD[n % len(ODD)] or "q"), ("paragraph", f"<p>{n}</p>")],
                )
            )
            page.title += " edited"
            page.save_revision(user=users[n % 5]).publish()
            for k in range(5):
                before = event(n * 5 + k, page if k else None, users[k], before if k % 2 else None)
                before.tags.add("tag", f"tag{k}")
        Redirect.add_redirect("/old", home)

    def more(self):
        index = EventPage.objects.get(slug="events")
        page = index.add_child(instance=EventPage(title="On PostgreSQL", slug="postgresql"))
        page.save_revision().publish()
        made = event(1000, page, User.objects.get(username="user1"), None)
        made.tags.add("tag", "postgresql")
        Event.objects.filter(name="event 3").update(
            duration=dt.timedelta(days=1, microseconds=-1), starts=timezone.now(), details={"z": 1, "a": 2}
        )
        Event.objects.filter(name__in=["event 10", "event 11"]).delete()
        changed = Event.objects.get(name="event 20")
        changed.name, changed.price, changed.address = (
            "event 20 renamed",
            decimal.Decimal("0.10"),
            "203.0.113.9",
        )
        changed.id = uuid.UUID(int=changed.id.int)
        changed.save()
        moved = EventPage.objects.get(slug="event-5")
        moved.move(EventPage.objects.get(slug="event-6"), pos="last-child")
        EventPage.objects.get(slug="event-7").delete()
        User.objects.create_user("late", "late@example.org", "secret")
