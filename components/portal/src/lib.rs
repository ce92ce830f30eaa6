//! The portal: `GET /portal` is the page on which merchants see and steer their webhooks, and what is
//! below it are the files that the page loads.
//!
//! A component of its own beside the API's, to which the page speaks as any client does. All but
//! `/portal/config.json` is made when it is built (`build.rs`): every file of `page/`.

#![deny(unsafe_code)]

pub mod config;

use bytes::Bytes;
use http::header::{CONTENT_SECURITY_POLICY, HeaderName};
use http::{HeaderMap, Method, Response, StatusCode, Uri};
use static_files::File;

use self::config::PortalConfig;

const FILES: &[File] = include!(concat!(env!("OUT_DIR"), "/files.rs"));

/// What the page shows of the platform.
const CONFIG: &str = "/portal/config.json";

/// What the page may not use of a browser (W3C Permissions Policy): nothing but the clipboard, to copy.
const PERMISSIONS: &str = "accelerometer=(), autoplay=(), camera=(), clipboard-read=(), \
     clipboard-write=(self), display-capture=(), fullscreen=(), geolocation=(), gyroscope=(), \
     magnetometer=(), microphone=(), midi=(), payment=(), usb=()";

/// Whether the response to this path depends on variables.
pub fn needs_config(path: &str) -> bool {
    let path = path.strip_suffix('/').unwrap_or(path);
    path == "/portal" || path == CONFIG || path.ends_with(".html")
}

/// Answers one request. `config` is asked for where [`needs_config`] says so.
pub fn answer(
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    config: Option<&PortalConfig>,
) -> Response<Bytes> {
    if uri.path() == CONFIG {
        return match config.map(PortalConfig::json) {
            Some(_) if ![Method::GET, Method::HEAD].contains(method) => {
                static_files::refused_method(method).unwrap_or_else(failed)
            }
            Some(json) => {
                let mut response = static_files::json(json.into());
                if method == Method::HEAD {
                    response.body_mut().clear();
                }
                response
            }
            None => failed(),
        };
    }
    let mut response = static_files::answer(FILES, method, uri, headers);
    let is_page = |path: &str| {
        let file = FILES.iter().find(|file| file.path == path);
        file.is_some_and(|file| file.media_type.starts_with("text/html"))
    };
    let is_shown = [StatusCode::OK, StatusCode::NOT_MODIFIED].contains(&response.status());
    if is_shown && is_page(uri.path()) {
        let Some(config) = config else {
            return failed();
        };
        static_files::set(&mut response, CONTENT_SECURITY_POLICY, &config.policy());
        let permissions = HeaderName::from_static("permissions-policy");
        static_files::set(&mut response, permissions, PERMISSIONS);
        // Nobody who opens the page, or whom it opens, gets hold of its window.
        let opener = HeaderName::from_static("cross-origin-opener-policy");
        static_files::set(&mut response, opener, "same-origin");
    }
    response
}

/// What is answered where a variable is wrong: the log says which.
pub fn failed() -> Response<Bytes> {
    static_files::error(StatusCode::INTERNAL_SERVER_ERROR, static_files::INTERNAL)
}

#[cfg(target_family = "wasm")]
#[allow(unsafe_code, reason = "what the macro exports to the host is")]
mod entry {
    use std::sync::OnceLock;
    use std::time::SystemTime;

    use bytes::Bytes;
    use chrono::{DateTime, SecondsFormat};
    use http::Response;
    use spin_sdk::http::{FullBody, IntoResponse, Request};
    use spin_sdk::{http_service, variables};

    use super::config::{PortalConfig, VARIABLES};

    /// The entry point: Spin calls it for every request.
    #[http_service]
    async fn handle(request: Request) -> impl IntoResponse {
        respond(&request).await.map(FullBody::<Bytes>::new)
    }

    async fn respond(request: &Request) -> Response<Bytes> {
        let config = match super::needs_config(request.uri().path()) {
            false => None,
            true => match load().await {
                Ok(config) => Some(config),
                Err(problem) => {
                    log(&problem);
                    return super::failed();
                }
            },
        };
        super::answer(request.method(), request.uri(), request.headers(), config)
    }

    /// This instance's configuration, read when its first request asks for it.
    async fn load() -> Result<&'static PortalConfig, String> {
        static CONFIG: OnceLock<PortalConfig> = OnceLock::new();

        if let Some(config) = CONFIG.get() {
            return Ok(config);
        }
        let mut values = Vec::new();
        for name in VARIABLES {
            let value = match variables::get(name).await {
                Ok(value) => Some(value),
                Err(variables::Error::Undefined(_)) => None,
                // The provider's text may hold what it should not: left out.
                Err(_) => return Err(format!("variable `{name}` could not be read")),
            };
            values.push((name, value));
        }
        let get = |name: &str| {
            let mut all = values.iter();
            all.find(|(variable, _)| *variable == name)
                .and_then(|(_, value)| value.clone())
        };
        let config = PortalConfig::parse(&get).map_err(|error| error.to_string())?;
        Ok(CONFIG.get_or_init(|| config))
    }

    /// A line of the log, as the API's component writes them.
    fn log(problem: &str) {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let millis = now.unwrap_or_default().as_millis() as i64;
        let time = DateTime::from_timestamp_millis(millis).unwrap_or_default();
        let line = serde_json::json!({
            "time": time.to_rfc3339_opts(SecondsFormat::Millis, true),
            "level": "error",
            "error": problem,
        });
        println!("{line}");
    }
}

#[cfg(test)]
mod tests {
    use http::header::CONTENT_TYPE;

    use super::*;

    fn config(variables: &[(&str, &str)]) -> PortalConfig {
        let get = |name: &str| {
            let mut all = variables.iter();
            all.find(|(known, _)| *known == name)
                .map(|(_, value)| (*value).to_owned())
        };
        PortalConfig::parse(&get).unwrap_or_else(|error| panic!("{error}"))
    }

    fn get(path: &str, config: Option<&PortalConfig>) -> Response<Bytes> {
        let uri = path.parse().expect("a path");
        answer(&Method::GET, &uri, &HeaderMap::new(), config)
    }

    #[test]
    fn the_page_has_its_policy_and_every_other_file_that_of_nothing() {
        let config = config(&[]);
        for file in FILES {
            assert_eq!(
                needs_config(file.path),
                file.media_type.starts_with("text/html"),
                "{}",
                file.path
            );
            let response = get(file.path, needs_config(file.path).then_some(&config));
            assert_eq!(response.status(), StatusCode::OK, "{}", file.path);
            let policy = &response.headers()[CONTENT_SECURITY_POLICY];
            match needs_config(file.path) {
                true => assert_eq!(*policy, *config.policy()),
                false => assert_eq!(*policy, *static_files::NOTHING),
            }
            assert_eq!(response.headers()[CONTENT_TYPE], *file.media_type);
        }
        assert!(FILES.iter().any(|file| file.path == "/portal"));
    }

    #[test]
    fn what_depends_on_variables_fails_without_them() {
        for path in ["/portal", CONFIG] {
            let response = get(path, None);
            assert_eq!(
                response.status(),
                StatusCode::INTERNAL_SERVER_ERROR,
                "{path}"
            );
        }
    }

    #[test]
    fn the_configuration_is_what_the_variables_say() {
        let unset = config(&[]);
        let body = get(CONFIG, Some(&unset)).into_body();
        assert_eq!(
            body,
            r#"{"name":"Webhooks","logoUrl":null,"accent":null,"refreshUrl":null}"#
        );
        let uri = CONFIG.parse().expect("a path");
        let post = answer(&Method::POST, &uri, &HeaderMap::new(), Some(&unset));
        assert_eq!(post.status(), StatusCode::METHOD_NOT_ALLOWED);
        let head = answer(&Method::HEAD, &uri, &HeaderMap::new(), Some(&unset));
        assert_eq!((head.status(), head.body().len()), (StatusCode::OK, 0));
        assert_eq!(head.headers()["content-length"], body.len().to_string());
    }
}
