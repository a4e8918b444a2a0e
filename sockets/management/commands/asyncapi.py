"""`manage.py asyncapi`."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import CommandParser

import sockets
from sockets.conf import get_conf
from sockets.management.output import GatewayCommand
from sockets.protocol.asyncapi import asyncapi, json_schema


class Command(GatewayCommand):
    """Prints what the sockets speak, for documentation and generators."""

    help = (
        "Print the frames of both sockets as an AsyncAPI 3 document, made of the code that reads "
        "and writes them: manage.py asyncapi > asyncapi.json. With --json-schema their JSON Schema "
        "alone. Needs no running gateway."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--json-schema", action="store_true", help="JSON Schema (2020-12), each frame in $defs"
        )

    def handle(self, **options: Any) -> None:
        conf = get_conf()
        made = (
            json_schema()
            if options["json_schema"]
            else asyncapi(
                version=sockets.__version__,
                client_url=conf.client_socket_url
                or f"ws://localhost:{conf.client_port}{conf.client_paths[0]}",
                worker_url=conf.worker_socket_url
                or f"ws://localhost:{conf.worker_port}{conf.worker_paths[0]}",
            )
        )
        self.stdout.write(json.dumps(made, indent=2))
