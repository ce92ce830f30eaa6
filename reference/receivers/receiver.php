<?php
// php -S 0.0.0.0:$PORT receiver.php
declare(strict_types=1);

function is_genuine(string $body, string $id, string $timestamp, string $signatures): bool
{
    // Five minutes, either way.
    if (!ctype_digit($timestamp) || abs(time() - (int) $timestamp) > 300) {
        return false;
    }
    // The key is what stands in base64 after "whsec_".
    $key = base64_decode(substr(getenv("WEBHOOK_SECRET"), strlen("whsec_")), true);
    $mac = hash_hmac("sha256", "$id.$timestamp.$body", $key, true);
    $expected = "v1," . base64_encode($mac);
    // While a secret is rotated there are several signatures, with spaces between.
    foreach (explode(" ", $signatures) as $signature) {
        if (hash_equals($expected, $signature)) {
            return true;
        }
    }
    return false;
}

// Verify the bytes as they came: JSON that is written again is not the same.
$body = file_get_contents("php://input");
$id = $_SERVER["HTTP_WEBHOOK_ID"] ?? "";
$timestamp = $_SERVER["HTTP_WEBHOOK_TIMESTAMP"] ?? "";
if (!is_genuine($body, $id, $timestamp, $_SERVER["HTTP_WEBHOOK_SIGNATURE"] ?? "")) {
    http_response_code(400);
    return;
}
$event = json_decode($body, true);
error_log("{$event["type"]} $id");
http_response_code(204);
