"""What the journey asks over HTTP."""

import json

from django.db import connection
from django.http import JsonResponse
from django.utils.text import slugify
from django.views.decorators.csrf import csrf_exempt

from events.models import Event


def health(request):
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return JsonResponse({"status": "healthy", "engine": connection.vendor})


@csrf_exempt
def events(request):
    """GET: names. POST: a new event, or a changed one when the name is there."""
    if request.method == "POST":
        body = json.loads(request.body)
        event, made = Event.objects.update_or_create(
            name=body["name"], defaults={"slug": slugify(body["name"])} | body.get("values", {})
        )
        return JsonResponse({"id": str(event.id), "made": made}, status=201 if made else 200)
    return JsonResponse({"events": list(Event.objects.order_by("name").values_list("name", flat=True))})
