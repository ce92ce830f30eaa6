curl -X POST "https://api.example.com/api/v1/applications/example_string/webhooks" \
  -H "Content-Type: application/json" \
  -H "Authorization: Bearer YOUR_API_TOKEN (JWT)" \
  -d '{
  "url": "https://merchant.example.com/hooks/kadosei"
}'
