# Verifies deliveries with PyPI's `standardwebhooks`. Reads a JSON array of {secret, headers, body}
# on its standard input, and prints one of booleans. Any other failure ends it.
import json
import sys

from standardwebhooks import Webhook, WebhookVerificationError


def verifies(case):
    try:
        Webhook(case["secret"]).verify(case["body"], case["headers"])
    except WebhookVerificationError:
        return False
    return True


print(json.dumps([verifies(case) for case in json.load(sys.stdin)]))
