"""`manage.py event_types`."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from django.core.management.base import CommandError, CommandParser

from sockets.api.contracts import MODULE, contracts
from sockets.management.output import GatewayCommand
from sockets.management.typescript import declarations

_HEAD = "// Made by `manage.py event_types`: change the contracts, and make it anew.\n\n"


class Command(GatewayCommand):
    """Prints the project's event contracts for those who write pages."""

    help = (
        "Print the event contracts of this project as TypeScript: "
        "manage.py event_types > events.d.ts, and then `new Gateway<Events>(url)` knows what each "
        "event brings. With --json-schema as JSON Schema, for any other language. A contract is a "
        f"subclass of sockets.api.Event in a module `{MODULE}` of an app."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--json-schema",
            action="store_true",
            help="JSON Schema (2020-12): one of its properties for each event",
        )

    def handle(self, **options: Any) -> None:
        if not contracts:
            raise CommandError(
                f"no event has a contract: write `class OrderPaid(sockets.api.Event)` with its "
                f"fields into a module `{MODULE}` of one of your apps"
            )
        found = dict(sorted(contracts.items()))
        references, schemas = msgspec.json.schema_components(
            found.values(), ref_template="#/$defs/{name}"
        )
        events = dict(zip(found, references, strict=True))
        if options["json_schema"]:
            made = {
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "type": "object",
                "properties": events,
                "$defs": schemas,
            }
            self.stdout.write(json.dumps(made, indent=2))
        else:
            names = {event: str(of["$ref"]).rpartition("/")[2] for event, of in events.items()}
            self.stdout.write(_HEAD + declarations(schemas, names), ending="")
