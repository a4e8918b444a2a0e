"""The overview in small, for the index of an admin.

{% load gateway_room %}{% gateway_overview %}
"""

from __future__ import annotations

import time
from typing import Any

from django import template
from django.template.context import RequestContext
from django.urls import NoReverseMatch, reverse

from sockets.admin.operations.page import texts

register = template.Library()


@register.inclusion_tag("admin/sockets/operations/small.html", takes_context=True)
def gateway_overview(context: RequestContext) -> dict[str, Any]:
    """Show the totals, to whoever may see the overview; nothing where the site has no such page.

    They come by its script: an index waits for nobody.
    """
    request = context["request"]
    site = getattr(request, "current_app", None)
    try:
        page = reverse("admin:sockets_overview_changelist", current_app=site)
        data = reverse("admin:sockets_overview_data", current_app=site)
    except NoReverseMatch:
        return {}
    if not request.user.has_perm("sockets.view_overview"):
        return {}
    return {
        "page": page,
        "data_url": f"{data}?small=1",
        "now": f"{time.time():.3f}",
        "texts": texts(),
    }
