const response = await fetch("https://api.example.com/api/v1/applications/example_string/webhooks", {
  method: "POST",
  headers: {
    "Content-Type": "application/json",
    "Authorization": "Bearer YOUR_API_TOKEN (JWT)"
  },
  body: JSON.stringify({
    "url": "https://merchant.example.com/hooks/kadosei"
  })
});

const data = await response.json();
console.log(data);
