// dotnet run (.NET 6 or newer), or: mcs Receiver.cs && mono Receiver.exe
using System;
using System.IO;
using System.Linq;
using System.Net;
using System.Security.Cryptography;
using System.Text;

static class Receiver
{
    // The key is what stands in base64 after "whsec_".
    static readonly string Secret = Environment.GetEnvironmentVariable("WEBHOOK_SECRET");
    static readonly byte[] Key = Convert.FromBase64String(Secret.Substring("whsec_".Length));

    static byte[] Bytes(string text)
    {
        return Encoding.UTF8.GetBytes(text);
    }

    static bool IsGenuine(byte[] body, string id, string timestamp, string signatures)
    {
        uint sent;
        if (id == null || signatures == null || !uint.TryParse(timestamp, out sent))
        {
            return false;
        }
        // Five minutes, either way.
        long now = DateTimeOffset.UtcNow.ToUnixTimeSeconds();
        if (Math.Abs(now - sent) > 300)
        {
            return false;
        }
        byte[] signed = Bytes(id + "." + timestamp + ".").Concat(body).ToArray();
        using (var hmac = new HMACSHA256(Key))
        {
            byte[] mac = hmac.ComputeHash(signed);
            byte[] expected = Bytes("v1," + Convert.ToBase64String(mac));
            // While a secret is rotated there are several, with spaces between.
            return signatures.Split(' ').Any(signature =>
                CryptographicOperations.FixedTimeEquals(expected, Bytes(signature)));
        }
    }

    static void Answer(HttpListenerContext context)
    {
        var headers = context.Request.Headers;
        // Verify the bytes as they came: JSON that is written again is not the same.
        var body = new MemoryStream();
        context.Request.InputStream.CopyTo(body);
        bool genuine = IsGenuine(body.ToArray(), headers["webhook-id"],
            headers["webhook-timestamp"], headers["webhook-signature"]);
        if (genuine)
        {
            string json = Encoding.UTF8.GetString(body.ToArray());
            Console.WriteLine(headers["webhook-id"] + " " + json);
        }
        context.Response.StatusCode = genuine ? 204 : 400;
        context.Response.Close();
    }

    static void Main()
    {
        var listener = new HttpListener();
        string port = Environment.GetEnvironmentVariable("PORT");
        listener.Prefixes.Add("http://*:" + port + "/");
        listener.Start();
        while (true)
        {
            var context = listener.GetContext();
            try
            {
                Answer(context);
            }
            catch (Exception error) // The client is gone.
            {
                Console.Error.WriteLine(error.Message);
                context.Response.Abort();
            }
        }
    }
}
