import requests
import json

url = "https://api.example.com/api/v1/applications/example_string/webhooks"
headers = {
    "Content-Type": "application/json",
    "Authorization": "Bearer YOUR_API_TOKEN (JWT)"
}
data = {
    "url": "https://merchant.example.com/hooks/kadosei"
}

response = requests.post(url, headers=headers, json=data)
print(response.json())
