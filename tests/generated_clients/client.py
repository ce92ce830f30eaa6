"""Creates, reads and deletes a webhook, and publishes and reads an event, with a generated client; what it
is told goes to standard output as JSON. Arguments: base URL, token, application, a publisher's token. The
client is the package `webhooks_client`."""

import json
import sys

from webhooks_client import AuthenticatedClient
from webhooks_client.api.events import get_event, publish_event
from webhooks_client.api.webhooks import create_webhook, delete_webhook, get_webhook, list_webhooks
from webhooks_client.models import NewWebhook, PublishRequest, PublishRequestData

base_url, token, application, publishers_token = sys.argv[1:]
api = AuthenticatedClient(base_url=base_url, token=token)
platform = AuthenticatedClient(base_url=base_url, token=publishers_token)

body = NewWebhook(url="https://merchant.example.com/hooks", subscribed_events=["session.completed"])
created = create_webhook.sync_detailed(application, client=api, body=body)
webhook = created.parsed
read = get_webhook.sync(application, webhook.id, client=api)
page = list_webhooks.sync(application, client=api, limit=1)
removed = delete_webhook.sync_detailed(application, webhook.id, client=api)
missing = get_webhook.sync(application, webhook.id, client=api)

data = PublishRequestData.from_dict({"sessionId": "ses_1"})
event = PublishRequest(type_="session.completed", data=data)
published = publish_event.sync_detailed(application, client=platform, body=event)
refused = publish_event.sync(application, client=api, body=event)
stored = get_event.sync(application, published.parsed.id, client=api)
print(
    json.dumps(
        {
            "created": created.status_code,
            "secret": webhook.signing_secret.startswith("whsec_"),
            "events": read.subscribed_events,
            "total": page.total_items,
            "removed": removed.status_code,
            "missing": missing.message,
            "published": published.status_code,
            "refused": refused.code,
            "data": stored.data.to_dict(),
            "pending": stored.summary.pending,
        }
    )
)
