"""Creates, reads and deletes a webhook with a generated client; what it is told goes to standard
output as JSON. Arguments: base URL, token, application. The client is the package `webhooks_client`."""

import json
import sys

from webhooks_client import AuthenticatedClient
from webhooks_client.api.webhooks import create_webhook, delete_webhook, get_webhook, list_webhooks
from webhooks_client.models import NewWebhook

base_url, token, application = sys.argv[1:]
api = AuthenticatedClient(base_url=base_url, token=token)

body = NewWebhook(url="https://merchant.example.com/hooks", subscribed_events=["session.completed"])
created = create_webhook.sync_detailed(application, client=api, body=body)
webhook = created.parsed
read = get_webhook.sync(application, webhook.id, client=api)
page = list_webhooks.sync(application, client=api, limit=1)
removed = delete_webhook.sync_detailed(application, webhook.id, client=api)
missing = get_webhook.sync(application, webhook.id, client=api)
print(
    json.dumps(
        {
            "created": created.status_code,
            "secret": webhook.signing_secret.startswith("whsec_"),
            "events": read.subscribed_events,
            "total": page.total_items,
            "removed": removed.status_code,
            "missing": missing.message,
        }
    )
)
