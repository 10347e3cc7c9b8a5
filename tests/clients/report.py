"""What a client got, a JSON line for each event: the test reads it from standard output."""

import json
import sys

TYPES = {"metric_updated", "sroi_updated", "vis_updated", "journey_flag_updated"}
ADDRESS = sys.argv[1]
AGAIN_SECONDS = 0.2


def report(kind: str, event_id: str, data: str) -> None:
    print(json.dumps({"type": kind, "id": event_id, "n": json.loads(data)["n"]}), flush=True)
