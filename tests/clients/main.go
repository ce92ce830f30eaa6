package main

import (
	"fmt"
	"net/http"
	"bytes"
	"encoding/json"
)

func main() {
	data := []byte(`{
  "url": "https://merchant.example.com/hooks/kadosei"
}`)

	req, err := http.NewRequest("POST", "https://api.example.com/api/v1/applications/example_string/webhooks", bytes.NewBuffer(data))
	if err != nil {
		panic(err)
	}

	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer YOUR_API_TOKEN (JWT)")

	client := &http.Client{}
	resp, err := client.Do(req)
	if err != nil {
		panic(err)
	}
	defer resp.Body.Close()

	fmt.Println("Response Status:", resp.Status)
}
