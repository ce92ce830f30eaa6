// What the API returns, as far as the page reads it. /openapi.json has all of it. Times are RFC 3339 in UTC.

/**
 * @typedef {"view" | "viewPayloads" | "resend" | "manageWebhooks" | "rotateSecrets"} Capability
 *
 * @typedef {object} Session
 * @property {string} token the bearer token; it is nowhere but in memory
 * @property {string} applicationId
 * @property {string | null} applicationName
 * @property {Capability[]} capabilities
 * @property {string} expiresAt
 *
 * @typedef {object} Config
 * @property {string} name what the portal is called
 * @property {string | null} logoUrl
 * @property {string | null} accent a colour as `#rrggbb`; null: the page's own
 * @property {string | null} refreshUrl where a new link can be had
 *
 * @typedef {object} Webhook
 * @property {string} id
 * @property {string} url
 * @property {boolean} isActive
 * @property {string} keyFingerprint
 * @property {string} [signingSecret] only of a create and of a rotation
 * @property {string[]} subscribedEvents `["*"]` is every event
 * @property {string | null} lastTestAt
 * @property {"SUCCEEDED" | "FAILED" | null} lastTestStatus
 * @property {string} createdAt
 * @property {string} updatedAt
 * @property {{fingerprint: string, expiresAt: string}[]} previousSecrets
 * @property {string | null} disabledAt
 * @property {"failing" | "gone" | null} disabledReason
 *
 * @typedef {"healthy" | "failing" | "disabled" | "inactive" | "idle"} WebhookState
 * @typedef {"pending" | "succeeded" | "failed" | "suppressed" | "expired"} DeliveryStatus
 * @typedef {Record<DeliveryStatus, number>} Summary
 *
 * @typedef {object} Health
 * @property {WebhookState} state
 * @property {boolean} isActive
 * @property {string | null} disabledAt
 * @property {"failing" | "gone" | null} disabledReason
 * @property {string | null} failingSince
 * @property {number} failedAttempts
 * @property {number} failedEvents
 * @property {string | null} willBeDisabledAt
 * @property {string | null} lastSuccessAt
 * @property {{count: number, oldestDueAt: string | null}} pending
 * @property {{since: string, byStatus: Summary}} deliveries
 * @property {{since: string, total: number, succeeded: number, failed: number,
 *   byStatusCode: {httpStatusCode: number, count: number}[], byError: {error: string, count: number}[],
 *   latencyMs: {p50: number, p95: number, p99: number} | null}} attempts
 *
 * @typedef {object} Attempt
 * @property {number} number
 * @property {"schedule" | "resend" | "recovery" | "uncertain"} trigger
 * @property {string} startedAt
 * @property {number} durationMs
 * @property {string} url
 * @property {string[]} secretFingerprints
 * @property {number | null} httpStatusCode
 * @property {string | null} error
 * @property {string | null} responseBody
 * @property {boolean} responseBodyTruncated
 * @property {number | null} retryAfterSeconds
 * @property {string | null} nextAttemptAt
 *
 * @typedef {object} Delivery
 * @property {string} eventId
 * @property {string} webhookId
 * @property {string} type
 * @property {DeliveryStatus} status
 * @property {string | null} reason
 * @property {number} attemptCount
 * @property {string | null} nextAttemptAt null while an attempt is under way, too
 * @property {string} giveUpAt
 * @property {string} createdAt
 * @property {string | null} completedAt
 * @property {Attempt | null} lastAttempt
 * @property {Attempt[]} [attempts] only of a delivery that is asked for alone
 *
 * @typedef {object} Event
 * @property {string} id
 * @property {string} type
 * @property {string} occurredAt
 * @property {string} createdAt
 * @property {string | null} deliverBefore
 * @property {number} sizeBytes
 * @property {string} sha256
 * @property {Summary} summary
 * @property {object | null} [data]
 * @property {Delivery[]} [deliveries]
 *
 * @typedef {object} EventType
 * @property {string} name
 * @property {string | null} title
 * @property {string | null} description
 * @property {object | null} example the body of a delivery
 *
 * @typedef {object} Recovery
 * @property {string} id
 * @property {"matching" | "running" | "done" | "stopped"} status
 * @property {string | null} reason
 * @property {number} perMinute
 * @property {number | null} matched
 * @property {number} queued
 * @property {number} skipped
 * @property {Record<string, number>} skippedByReason
 *
 * @typedef {object} DeliveryPolicy
 * @property {number[]} retryScheduleSeconds
 * @property {number} attemptTimeoutSeconds
 * @property {number} retentionDays
 * @property {number} disableAfterHours
 * @property {number} disableAfterAttempts
 * @property {number} disableAfterEvents
 */

export {};
