# gem install standardwebhooks webrick
require "standardwebhooks"
require "webrick"

webhook = StandardWebhooks::Webhook.new(ENV.fetch("WEBHOOK_SECRET")) # whsec_...

server = WEBrick::HTTPServer.new(Port: Integer(ENV.fetch("PORT")))
server.mount_proc("/") do |request, response|
  names = ["webhook-id", "webhook-timestamp", "webhook-signature"]
  headers = names.to_h { |name| [name, request[name]] }
  begin
    # Verify the bytes as they came: JSON that is written again is not the same.
    event = webhook.verify(request.body.to_s, headers)
    puts "#{event["type"]} #{request["webhook-id"]}"
    response.status = 204
  rescue StandardWebhooks::WebhookVerificationError
    response.status = 400
  end
end
server.start
