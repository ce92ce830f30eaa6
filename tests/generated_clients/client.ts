// Creates, reads and deletes a webhook, and publishes and reads an event, with a generated client; what it
// is told goes to standard output as JSON. Arguments: base URL, token, application, a publisher's token.
import createClient from "openapi-fetch";
import type { paths } from "./api";

const [baseUrl, token, applicationId, publishersToken] = process.argv.slice(2);
const client = createClient<paths>({ baseUrl, headers: { Authorization: `Bearer ${token}` } });

const path = "/api/v1/applications/{applicationId}/webhooks";
const created = await client.POST(path, {
  params: { path: { applicationId } },
  body: { url: "https://merchant.example.com/hooks", subscribedEvents: ["session.completed"] },
});
if (!created.data) throw new Error(created.error.message);
const { id: webhookId, signingSecret } = created.data;
const params = { path: { applicationId, webhookId } };
const read = await client.GET(`${path}/{webhookId}`, { params });
const page = await client.GET(path, { params: { path: { applicationId }, query: { limit: 1 } } });
const removed = await client.DELETE(`${path}/{webhookId}`, { params });
const missing = await client.GET(`${path}/{webhookId}`, { params });

const events = "/api/v1/applications/{applicationId}/events";
const event = {
  params: { path: { applicationId } },
  body: { type: "session.completed", data: { sessionId: "ses_1" } },
};
const headers = { Authorization: `Bearer ${publishersToken}` };
const published = await client.POST(events, { ...event, headers });
if (!published.data) throw new Error(published.error.message);
const refused = await client.POST(events, event);
const stored = await client.GET(`${events}/{eventId}`, {
  params: { path: { applicationId, eventId: published.data.id } },
});
console.log(JSON.stringify({
  created: created.response.status,
  secret: signingSecret.startsWith("whsec_"),
  events: read.data?.subscribedEvents,
  total: page.data?.totalItems,
  removed: removed.response.status,
  missing: missing.error?.message,
  published: published.response.status,
  refused: refused.error?.code,
  data: stored.data?.data,
  pending: stored.data?.summary.pending,
}));
