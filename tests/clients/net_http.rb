require 'net/http'
require 'json'

uri = URI('https://api.example.com/api/v1/applications/example_string/webhooks')
http = Net::HTTP.new(uri.host, uri.port)
http.use_ssl = true

request = Net::HTTP::Post.new(uri)
request['Content-Type'] = 'application/json'
request['Authorization'] = 'Bearer YOUR_API_TOKEN (JWT)'
request.body = '{
  "url": "https://merchant.example.com/hooks/kadosei"
}'

response = http.request(request)
puts response.body
