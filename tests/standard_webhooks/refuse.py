# What becomes of a delivery in receivers written in Python, and what PyPI's `standardwebhooks` says of
# it. Reads {secret, other, headers, body} on its standard input, and prints an array of {reasons,
# headers, body, verifies}: `reasons` are those that the service is to find. Any other failure ends it.
import json
import sys
from datetime import datetime, timedelta, timezone

from standardwebhooks import Webhook, WebhookVerificationError

given = json.load(sys.stdin)
headers, body = given["headers"], given["body"]
parsed = json.loads(body)
cases = []


def case(reasons, body=body, without=None, **changed):
    changed = {name.replace("_", "-"): value for name, value in changed.items()}
    sent = {name: value for name, value in (headers | changed).items() if name != without}
    try:
        Webhook(given["secret"]).verify(body, sent)
        verifies = True
    # What has not the form of a signature it does not take apart.
    except (WebhookVerificationError, ValueError):
        verifies = False
    cases.append({"reasons": reasons, "headers": sent, "body": body, "verifies": verifies})


def signed(reasons, secret, at, id=headers["webhook-id"]):
    signature = Webhook(secret).sign(id, at, body)
    seconds = str(int(at.timestamp()))
    case(reasons, webhook_id=id, webhook_timestamp=seconds, webhook_signature=signature)


now = datetime.now(timezone.utc)
case([])
# What frameworks that hand over parsed JSON lead to.
case(["bodyReserialized"], json.dumps(parsed))
case(["bodyReserialized"], json.dumps(parsed, indent=2, sort_keys=True))
case(["bodyChanged"], json.dumps(parsed | {"data": {}}))
case(["bodyChanged"], body.encode().decode("latin-1"))
for name in ["webhook-id", "webhook-timestamp", "webhook-signature"]:
    case(["headerMissing"], without=name)
case(["malformedTimestamp"], webhook_timestamp="yesterday")
case(["malformedSignature"], webhook_signature=headers["webhook-signature"].removeprefix("v1,"))
case(["malformedSignature"], webhook_signature="v1,bm90IGEgc2lnbmF0dXJl")
signed([], given["secret"], now)
signed(["timestampOutsideTolerance"], given["secret"], now - timedelta(minutes=6))
signed(["timestampOutsideTolerance"], given["secret"], now + timedelta(minutes=6))
signed(["unknownSecret"], given["other"], now)
unknown = headers["webhook-id"][:-8] + "00000000"
signed(["eventUnknown", "signatureMismatch"], given["other"], now, unknown)
signed(["signatureMismatch"], given["other"], now, "msg_1")
print(json.dumps(cases))
