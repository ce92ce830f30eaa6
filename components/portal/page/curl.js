// A delivery as a shell script: the same request again, signed anew with the secret that only the merchant has.

/** @param {string} text */
const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/**
 * A script that sends the delivery with curl. No signature is kept, and an old one would be refused, so it makes
 * one: with openssl, of the secret that is put in.
 *
 * @param {{url: string, id: string, body: string}} request
 */
export const curl = ({ url, id, body }) => `SECRET='whsec_…'  # the webhook's signing secret
ID=${quoted(id)}
TIMESTAMP=$(date +%s)
BODY=${quoted(body)}
KEY=$(printf %s "\${SECRET#whsec_}" | openssl base64 -d -A | od -An -v -tx1 | tr -d ' \\n')
SIGNATURE=$(printf %s "$ID.$TIMESTAMP.$BODY" | openssl dgst -sha256 -mac HMAC -macopt "hexkey:$KEY" -binary | openssl base64 -A)
curl -i -X POST ${quoted(url)} \\
  -H 'content-type: application/json' \\
  -H "webhook-id: $ID" \\
  -H "webhook-timestamp: $TIMESTAMP" \\
  -H "webhook-signature: v1,$SIGNATURE" \\
  --data-binary "$BODY"
`;
