"""Has `appliance.telemetry.elastic` make the requests that standard input names, whatever client this Python has.

    {"settings": {"addresses": [...]}, "timeout": 5, "steps": [["perform", "GET", "/"], ["bulk", "..."]]}

Prints the client's version, then for each step [status, body], or {"error": ..., "retryable": ...}.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import elasticsearch

from appliance.errors import ShipError
from appliance.model_logging import Elasticsearch
from appliance.telemetry.elastic import Elastic


async def run(order: dict[str, Any]) -> None:
    print(json.dumps(".".join(str(part) for part in elasticsearch.__version__)))
    settings = {**order["settings"], "addresses": tuple(order["settings"]["addresses"])}
    async with Elastic(Elasticsearch(**settings), timeout=order.get("timeout", 30)) as elastic:
        for verb, *arguments in order["steps"]:
            try:
                if verb == "bulk":
                    print(json.dumps(await elastic.bulk(arguments[0].encode())))
                else:
                    print(json.dumps(await getattr(elastic, verb)(*arguments)))
            except ShipError as error:
                print(json.dumps({"error": str(error), "retryable": error.retryable, "status": error.status}))


if __name__ == "__main__":
    asyncio.run(run(json.load(sys.stdin)))
