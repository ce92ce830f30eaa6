// java Receiver.java, with JDK 17 or newer
import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;
import java.security.MessageDigest;
import java.time.Instant;
import java.util.Base64;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

public class Receiver {
    // The key is what stands in base64 after "whsec_".
    static final byte[] KEY = Base64.getDecoder()
            .decode(System.getenv("WEBHOOK_SECRET").substring("whsec_".length()));

    static boolean isGenuine(byte[] body, String id, String timestamp, String signatures)
            throws Exception {
        if (id == null || timestamp == null || signatures == null
                || !timestamp.matches("[0-9]{1,12}")) {
            return false;
        }
        // Five minutes, either way.
        long now = Instant.now().getEpochSecond();
        if (Math.abs(now - Long.parseLong(timestamp)) > 300) {
            return false;
        }
        Mac mac = Mac.getInstance("HmacSHA256");
        mac.init(new SecretKeySpec(KEY, "HmacSHA256"));
        mac.update((id + "." + timestamp + ".").getBytes("UTF-8"));
        String expected = "v1," + Base64.getEncoder().encodeToString(mac.doFinal(body));
        // While a secret is rotated there are several signatures, with spaces between.
        boolean found = false;
        for (String signature : signatures.split(" ")) {
            found |= MessageDigest.isEqual(
                    expected.getBytes("UTF-8"), signature.getBytes("UTF-8"));
        }
        return found;
    }

    public static void main(String[] arguments) throws Exception {
        int port = Integer.parseInt(System.getenv("PORT"));
        HttpServer server = HttpServer.create(new InetSocketAddress(port), 0);
        server.createContext("/", exchange -> {
            // Verify the bytes as they came: JSON that is written again is not the same.
            byte[] body = exchange.getRequestBody().readAllBytes();
            var headers = exchange.getRequestHeaders();
            String id = headers.getFirst("webhook-id");
            int status = 500;
            try {
                String timestamp = headers.getFirst("webhook-timestamp");
                String signatures = headers.getFirst("webhook-signature");
                boolean genuine = isGenuine(body, id, timestamp, signatures);
                status = genuine ? 204 : 400;
            } catch (Exception error) {
                error.printStackTrace();
            }
            if (status == 204) {
                System.out.println(id + " " + new String(body, "UTF-8"));
            }
            exchange.sendResponseHeaders(status, -1);
            exchange.close();
        });
        server.start();
    }
}
