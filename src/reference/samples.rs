//! The code of each operation in five languages (`x-codeSamples`). Each runs as it is, once it has a token
//! and ids that exist, and prints the status and the body of the response.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::examples;
use super::{METHODS, object_mut};

/// Where the samples send their requests; the page puts its own in its place.
const BASE: &str = "https://webhooks.example.com";

/// What stands for the token, in the page too.
const TOKEN: &str = "YOUR_TOKEN";

/// What a sample sends.
struct Call {
    /// In capitals.
    method: String,
    url: String,
    headers: Vec<(String, String)>,
    body: Option<Value>,
}

/// Gives each operation its samples.
pub fn add(document: &mut Value) {
    let schemas = document["components"]["schemas"].clone();
    for (path, item) in object_mut(&mut document["paths"]) {
        for (method, operation) in object_mut(item) {
            if !METHODS.contains(&method.as_str()) {
                continue;
            }
            let call = Call::of(&schemas, method, path, operation);
            let samples = [
                ("Shell", "curl", curl(&call)),
                ("Python", "requests", python(&call)),
                ("JavaScript", "fetch", javascript(&call)),
                ("Go", "net/http", go(&call)),
                ("Ruby", "Net::HTTP", ruby(&call)),
            ];
            operation["x-codeSamples"] = samples
                .into_iter()
                .map(
                    |(lang, label, source)| json!({"lang": lang, "label": label, "source": source}),
                )
                .collect();
        }
    }
}

impl Call {
    fn of(schemas: &Value, method: &str, path: &str, operation: &Value) -> Self {
        let mut url = format!("{BASE}{path}");
        let mut headers = Vec::new();
        if operation.get("security").is_none() {
            headers.push(("Authorization".to_owned(), format!("Bearer {TOKEN}")));
        }
        let parameters = operation["parameters"].as_array();
        for parameter in parameters.into_iter().flatten() {
            let name = parameter["name"].as_str().unwrap_or_default();
            let value = parameter.get("example").cloned();
            let value = value.unwrap_or_else(|| examples::example(schemas, &parameter["schema"]));
            let value = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            let required = parameter["required"] == true;
            match parameter["in"].as_str() {
                Some("path") => url = url.replace(&format!("{{{name}}}"), &value),
                Some("query") if required => {
                    let separator = if url.contains('?') { '&' } else { '?' };
                    let _ = write!(url, "{separator}{name}={value}");
                }
                Some("header") if required => headers.push((name.to_owned(), value)),
                _ => {}
            }
        }
        let body = operation.pointer("/requestBody/content/application~1json/example");
        // An empty object says nothing.
        let body = body.filter(|body| **body != json!({})).cloned();
        if body.is_some() {
            headers.push(("Content-Type".to_owned(), "application/json".to_owned()));
        }
        Self {
            method: method.to_uppercase(),
            url,
            headers,
            body,
        }
    }

    fn json(&self) -> Option<String> {
        let body = self.body.as_ref()?;
        Some(serde_json::to_string_pretty(body).expect("JSON"))
    }
}

fn curl(call: &Call) -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', r"'\''"));
    let mut code = String::from("curl -i");
    if call.method != "GET" {
        let _ = write!(code, " -X {}", call.method);
    }
    let _ = write!(code, " {}", quoted(&call.url));
    for (name, value) in &call.headers {
        let _ = write!(code, " \\\n  -H {}", quoted(&format!("{name}: {value}")));
    }
    if let Some(body) = call.json() {
        let _ = write!(code, " \\\n  -d {}", quoted(&body));
    }
    code
}

fn python(call: &Call) -> String {
    let mut code = format!(
        "import requests\n\nresponse = requests.{}(\n    {},\n",
        call.method.to_lowercase(),
        json!(call.url)
    );
    if !call.headers.is_empty() {
        code += "    headers={\n";
        for (name, value) in &call.headers {
            let _ = writeln!(code, "        {}: {},", json!(name), json!(value));
        }
        code += "    },\n";
    }
    if let Some(body) = &call.body {
        let _ = writeln!(code, "    json={},", python_literal(body, 4));
    }
    code + ")\nprint(response.status_code, response.text)"
}

/// A value of JSON as Python writes it.
fn python_literal(value: &Value, indent: usize) -> String {
    let inner = " ".repeat(indent + 4);
    let outer = " ".repeat(indent);
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Array(items) => {
            let items = items.iter().map(|item| python_literal(item, indent));
            format!("[{}]", items.collect::<Vec<_>>().join(", "))
        }
        Value::Object(members) if !members.is_empty() => {
            let members = members.iter().map(|(name, value)| {
                format!(
                    "{inner}{}: {},\n",
                    json!(name),
                    python_literal(value, indent + 4)
                )
            });
            format!("{{\n{}{outer}}}", members.collect::<String>())
        }
        other => other.to_string(),
    }
}

fn javascript(call: &Call) -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\\', r"\\").replace('\'', r"\'"));
    let mut code = format!(
        "const response = await fetch({}, {{\n  method: {},\n",
        quoted(&call.url),
        quoted(&call.method)
    );
    if !call.headers.is_empty() {
        code += "  headers: {\n";
        for (name, value) in &call.headers {
            let _ = writeln!(code, "    {}: {},", quoted(name), quoted(value));
        }
        code += "  },\n";
    }
    if let Some(body) = call.json() {
        let body = body.replace('\n', "\n  ");
        let _ = writeln!(code, "  body: JSON.stringify({body}),");
    }
    code + "});\nconsole.log(response.status, await response.text());"
}

fn go(call: &Call) -> String {
    let (import, body) = match call.json() {
        Some(body) => (
            "\n\t\"strings\"",
            format!(
                "strings.NewReader(`{}`)",
                body.replace('`', "` + \"`\" + `")
            ),
        ),
        None => ("", "nil".to_owned()),
    };
    let headers = call
        .headers
        .iter()
        .map(|(name, value)| format!("\trequest.Header.Set({}, {})\n", json!(name), json!(value)));
    format!(
        "package main\n\nimport (\n\t\"fmt\"\n\t\"io\"\n\t\"net/http\"{import}\n)\n\nfunc main() {{\n\
         \trequest, err := http.NewRequest({}, {}, {body})\n\
         \tif err != nil {{\n\t\tpanic(err)\n\t}}\n{}\
         \tresponse, err := http.DefaultClient.Do(request)\n\
         \tif err != nil {{\n\t\tpanic(err)\n\t}}\n\
         \tdefer response.Body.Close()\n\
         \tbody, err := io.ReadAll(response.Body)\n\
         \tif err != nil {{\n\t\tpanic(err)\n\t}}\n\
         \tfmt.Println(response.StatusCode, string(body))\n}}",
        json!(call.method),
        json!(call.url),
        headers.collect::<String>(),
    )
}

fn ruby(call: &Call) -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\\', r"\\").replace('\'', r"\'"));
    let class = call.method[..1].to_owned() + &call.method[1..].to_lowercase();
    let mut code = format!(
        "require 'net/http'\n\nuri = URI({})\nrequest = Net::HTTP::{class}.new(uri)\n",
        quoted(&call.url)
    );
    for (name, value) in &call.headers {
        let _ = writeln!(code, "request[{}] = {}", quoted(name), quoted(value));
    }
    if let Some(body) = call.json() {
        let _ = writeln!(code, "request.body = <<~'JSON'\n{body}\nJSON");
    }
    code + "response = Net::HTTP.start(uri.host, uri.port, use_ssl: uri.scheme == 'https') do |http|\n  \
            http.request(request)\nend\nputs response.code, response.body"
}
