// npm install standardwebhooks
import { createServer } from "node:http";
import { Webhook, WebhookVerificationError } from "standardwebhooks";

const webhook = new Webhook(process.env.WEBHOOK_SECRET); // whsec_...

createServer(async (request, response) => {
  // Verify the bytes as they came: JSON that is written again is not the same.
  const body = Buffer.concat(await request.toArray());
  try {
    const event = webhook.verify(body, request.headers);
    console.log(event.type, request.headers["webhook-id"]);
    response.statusCode = 204;
  } catch (error) {
    response.statusCode = error instanceof WebhookVerificationError ? 400 : 500;
  }
  response.end();
}).listen(Number(process.env.PORT));
