//! `url`: where deliveries may go. Whoever could make us call into a private network would try
//! one of these spellings; so that all tricks are visible, they are in one place.
//!
//! Long because the tables of spellings are.

use serde_json::json;

use crate::support::contract::details;
use crate::support::{custom, standard};

/// Public names and addresses over https.
const ACCEPTED: &[&str] = &[
    "https://merchant.example.com/hooks/kadosei",
    "https://example.com",
    "https://example.com/",
    "https://example.com?a=b",
    "https://www.example.com/a/b/c?d=e&f=g",
    "https://example.com/%20%C3%A4%ff",
    "https://example.com//double//slashes/../and/./dots",
    "https://example.com/a:b@c;d,e!$&'()*+=~",
    "https://example.com/https://127.0.0.1/",
    "https://example.com/?next=http://localhost/@10.0.0.1",
    "https://a.b.c.d.e.f.example.org/",
    "https://sub-domain.example.co.uk/",
    "https://my_host.example.com/",
    "https://1host.example.com/",
    "https://xn--bcher-kva.example.com/",
    "https://merchant.dev/",
    "https://test.com/",
    "https://invalid.net/",
    "https://localhost.com/",
    "https://local.org/",
    "https://internal.example.com/",
    "https://notlocalhost.example.net/",
    "https://mylocal.io/",
    // Any spelling of the scheme and the host (RFC 3986 §3.1, §3.2.2).
    "HTTPS://example.com/",
    "hTTps://EXAMPLE.Com/Path",
    // Ports.
    "https://example.com:443/",
    "https://example.com:8443/hook",
    "https://example.com:1/",
    "https://example.com:65535/",
    // Global addresses.
    "https://1.1.1.1/",
    "https://8.8.8.8:8443/hook",
    "https://9.255.255.255/",
    "https://11.0.0.0/",
    "https://100.63.255.255/",
    "https://100.128.0.0/",
    "https://126.255.255.255/",
    "https://128.0.0.1/",
    "https://169.253.255.255/",
    "https://169.255.0.0/",
    "https://172.15.255.255/",
    "https://172.32.0.0/",
    "https://192.167.255.255/",
    "https://192.169.0.0/",
    "https://198.17.255.255/",
    "https://198.20.0.0/",
    "https://223.255.255.255/",
];

/// Everything else, by what it tries.
const REFUSED: &[(&str, &[&str])] = &[
    (
        "not an absolute URL",
        &[
            "",
            "/",
            "/hooks",
            "hooks",
            "example.com",
            "example.com/hooks",
            "//example.com/hooks",
            "?a=b",
            "://example.com/",
            "https",
            "https:",
            "https:/",
            "https://",
            "https:///",
            "https://?",
            "https://:443/",
            "https://.",
            "https://..",
        ],
    ),
    (
        "slashes that some parsers add or skip",
        &[
            "https:example.com",
            "https:example.com/hooks",
            "https:/example.com/",
            "https:///example.com/",
            "https:////example.com/",
            "https:\\\\example.com\\",
            "https:/\\example.com/",
            "https://\\example.com/",
            "https://example.com\\@127.0.0.1/",
            "https://127.0.0.1\\@example.com/",
            "https://example.com\\.evil.example.net/",
        ],
    ),
    (
        "another scheme",
        &[
            "http://example.com/",
            "HTTP://example.com/",
            "httpss://example.com/",
            "xhttps://example.com/",
            "ftp://example.com/",
            "ws://example.com/",
            "wss://example.com/",
            "gopher://example.com/",
            "file:///etc/passwd",
            "file://example.com/etc/passwd",
            "data:text/plain,https://example.com/",
            "javascript:alert(1)",
            "javascript://example.com/%0aalert(1)",
            "mailto:hooks@example.com",
            "about:blank",
            "blob:https://example.com/",
            "view-source:https://example.com/",
            "jar:https://example.com/!/",
        ],
    ),
    (
        "user info",
        &[
            "https://user@example.com/",
            "https://user:password@example.com/",
            "https://:password@example.com/",
            "https://:@example.com/",
            "https://@example.com/",
            "https://example.com@127.0.0.1/",
            "https://127.0.0.1@example.com/",
            "https://example.com%40127.0.0.1/",
            "https://example.com:443@127.0.0.1/",
        ],
    ),
    (
        "a fragment",
        &[
            "https://example.com/#",
            "https://example.com/#fragment",
            "https://example.com#fragment",
            "https://example.com/?a=b#c",
            "https://example.com#@127.0.0.1/",
            "https://127.0.0.1#.example.com/",
        ],
    ),
    (
        "white space and control characters",
        &[
            " https://example.com/",
            "https://example.com/ ",
            "\thttps://example.com/",
            "https://example.com/\n",
            "\r\nhttps://example.com/",
            "https://exam ple.com/",
            "https://exam\tple.com/",
            "https://exam\nple.com/",
            "https://example.com/a b",
            "https://example.com/a\tb",
            "https://example.com/a\r\nX-Injected: yes",
            "ht\ntps://example.com/",
            "https:/\t/example.com/",
            "https://example.com/\u{0}",
            "https://example.com\u{0}.example.net/",
            "https://example.com/\u{1b}[2J",
            "https://example.com/\u{7f}",
            "https://example.com/\u{85}",
            "https://example.com/\u{a0}",
            "https://example.com/\u{2003}",
            "https://example.com/\u{2028}",
            "\u{3000}https://example.com/",
        ],
    ),
    (
        "ports that are none",
        &[
            "https://example.com:0/",
            "https://example.com:65536/",
            "https://example.com:99999999999/",
            "https://example.com:-1/",
            "https://example.com:https/",
            "https://example.com:443:443/",
            "https://example.com:443.example.net/",
        ],
    ),
    (
        "loopback",
        &[
            "https://127.0.0.1/",
            "https://127.0.0.1:8443/",
            "https://127.0.0.1./",
            "https://127.1.2.3/",
            "https://127.255.255.255/",
            "https://localhost/",
            "https://LOCALHOST/",
            "https://localhost./",
            "https://localhost:443/",
            "https://api.localhost/",
            "https://example.com.localhost/",
            "https://[::1]/",
            "https://[0:0:0:0:0:0:0:1]/",
            "https://[0000:0000:0000:0000:0000:0000:0000:0001]:443/",
        ],
    ),
    (
        "loopback in another notation",
        &[
            "https://2130706433/",
            "https://0x7f000001/",
            "https://0X7F000001/",
            "https://017700000001/",
            "https://0x7f.0.0.1/",
            "https://0x7f.0x0.0x0.0x1/",
            "https://0177.0.0.1/",
            "https://0177.0000.0000.0001/",
            "https://127.1/",
            "https://127.0.1/",
            "https://0x7f.1/",
            "https://127.0x1/",
            "https://127.0.0.01/",
            "https://%31%32%37.0.0.1/",
            "https://127%2e0%2e0%2e1/",
            "https://%6c%6f%63%61%6c%68%6f%73%74/",
            "https://\u{ff11}\u{ff12}\u{ff17}.\u{ff10}.\u{ff10}.\u{ff11}/",
            "https://127\u{3002}0\u{3002}0\u{3002}1/",
            "https://127\u{ff0e}0\u{ff0e}0\u{ff0e}1/",
            "https://127\u{ff61}0\u{ff61}0\u{ff61}1/",
            "https://\u{2460}\u{2461}\u{2466}.0.0.\u{2460}/",
            "https://\u{ff4c}\u{ff4f}\u{ff43}\u{ff41}\u{ff4c}\u{ff48}\u{ff4f}\u{ff53}\u{ff54}/",
            "https://\u{24db}ocalhost/",
            "https://local\u{ad}host/",
            "https://localhost\u{3002}/",
        ],
    ),
    (
        "leading zeros: octal and public to some parsers, decimal and private to others",
        &[
            "https://0127.0.0.1/",
            "https://00000000127.0.0.1/",
            "https://010.8.8.8/",
        ],
    ),
    (
        "names in another script than the DNS's: they go as `xn--`",
        &[
            "https://b\u{fc}cher.example.com/",
            "https://\u{4f8b}\u{5b50}.com/",
            // A homograph: the first letter is Cyrillic.
            "https://\u{435}xample.com/",
            "https://\u{ff45}xample.com/",
            "https://exa\u{200d}mple.com/",
        ],
    ),
    (
        "this network, private networks, carrier-grade NAT, link-local",
        &[
            "https://0/",
            "https://0.0.0.0/",
            "https://0.0.0.0:443/",
            "https://0.255.255.255/",
            "https://00/",
            "https://0x0/",
            "https://10.0.0.0/",
            "https://10.255.255.255/",
            "https://167772161/",
            "https://0xa000001/",
            "https://012.0.0.1/",
            "https://10.1/",
            "https://100.64.0.0/",
            "https://100.127.255.255/",
            "https://169.254.0.1/",
            "https://169.254.255.255/",
            "https://172.16.0.0/",
            "https://172.31.255.255/",
            "https://192.168.0.0/",
            "https://192.168.255.255/",
            "https://3232235777/",
            "https://0300.0250.1.1/",
        ],
    ),
    (
        "metadata services",
        &[
            "https://169.254.169.254/latest/meta-data/",
            "https://2852039166/",
            "https://0xa9fea9fe/",
            "https://0251.0376.0251.0376/",
            "https://169.254.43518/",
            "https://169.254.170.2/",
            "https://100.100.100.200/",
            "https://168.63.129.16/",
            "https://192.0.0.192/",
            "https://metadata.google.internal/computeMetadata/v1/",
            "https://metadata/",
            "https://[fd00:ec2::254]/",
            "https://[::ffff:169.254.169.254]/",
            "https://[::ffff:a9fe:a9fe]/",
        ],
    ),
    (
        "documentation, benchmarks, protocols, multicast, reserved",
        &[
            "https://192.0.0.1/",
            "https://192.0.2.1/",
            "https://198.51.100.1/",
            "https://203.0.113.1/",
            "https://198.18.0.1/",
            "https://198.19.255.255/",
            "https://192.88.99.1/",
            "https://224.0.0.1/",
            "https://239.255.255.255/",
            "https://240.0.0.1/",
            "https://254.1.2.3/",
            "https://255.255.255.255/",
            "https://4294967295/",
        ],
    ),
    (
        "addresses that are none",
        &[
            "https://256.256.256.256/",
            "https://1.2.3.4.5/",
            "https://1.2.3.4.5.6.7.8/",
            "https://4294967296/",
            "https://1.1.1.256/",
            "https://0x100000000/",
            "https://09.1.1.1/",
            "https://1..1.1/",
            "https://example.123/",
            "https://example.0x7f/",
            "https://[::g]/",
            "https://[1::2::3]/",
            "https://[::1/",
            "https://::1/",
            "https://2606:4700:4700::1111/",
            "https://[127.0.0.1]/",
            "https://[v1.fe80::a]/",
            "https://[]/",
            "https://[example.com]/",
        ],
    ),
    (
        "IPv6 that is not global",
        &[
            "https://[::]/",
            "https://[fe80::1]/",
            "https://[fe80::1%25eth0]/",
            "https://[fe80::1%eth0]/",
            "https://[2606:4700:4700::1111%25eth0]/",
            "https://[febf::1]/",
            "https://[fec0::1]/",
            "https://[fc00::1]/",
            "https://[fdff:ffff::1]/",
            "https://[ff02::1]/",
            "https://[ff0e::1]/",
            "https://[100::1]/",
            "https://[2001:db8::1]/",
            "https://[3fff::1]/",
            "https://[2001:2::1]/",
            "https://[2001:10::1]/",
            "https://[2001:20::1]/",
            "https://[5f00::1]/",
            "https://[4000::1]/",
        ],
    ),
    (
        "IPv4 inside of IPv6",
        &[
            "https://[::ffff:127.0.0.1]/",
            "https://[::ffff:7f00:1]/",
            "https://[0:0:0:0:0:ffff:127.0.0.1]/",
            "https://[::FFFF:10.0.0.1]/",
            "https://[::127.0.0.1]/",
            "https://[::7f00:1]/",
            "https://[::ffff:0:127.0.0.1]/",
            "https://[64:ff9b::127.0.0.1]/",
            "https://[64:ff9b::a9fe:a9fe]/",
            "https://[64:ff9b:1::10.0.0.1]/",
            "https://[2002:7f00:1::]/",
            "https://[2002:a9fe:a9fe::1]/",
            "https://[2001:0:4136:e378:8000:63bf:80ff:fffe]/",
            "https://[2606:4700::5efe:10.0.0.1]/",
        ],
    ),
    (
        "names that are not public",
        &[
            "https://intranet/",
            "https://intranet./",
            "https://a/",
            "https://com/",
            "https://printer.local/",
            "https://PRINTER.LOCAL/",
            "https://printer.local./",
            "https://a.b.printer.local:8443/",
            "https://local/",
            "https://db.internal/",
            "https://ip-10-0-0-1.ec2.internal/",
            "https://router.home.arpa/",
            "https://home.arpa/",
            "https://shop.test/",
            "https://shop.invalid/",
            "https://shop.example/",
            "https://example/",
            "https://expyuzz4wqqyqhjn.onion/",
            "https://printer\u{ff0e}local/",
            "https://printer.\u{24db}ocal/",
            "https://printer.loc%61l/",
        ],
    ),
    (
        "names that only a runtime or a private network knows",
        &[
            // To Spin it is the service itself.
            "https://self.alt/",
            "https://SELF.alt/healthz",
            "https://application-webhooks.spin.internal/",
            "https://shop.alt/",
            "https://alt/",
            "https://1.0.0.127.in-addr.arpa/",
            "https://ipv4only.arpa/",
            "https://api.default.svc/",
            "https://kubernetes.default.svc.cluster.local/",
            "https://nas.lan/",
            "https://printer.home/",
            "https://mail.corp/",
            "https://wiki.intranet/",
            "https://db.private/",
            "https://localhost.localdomain/",
        ],
    ),
    (
        "a dot at the host's end",
        &[
            "https://example.com./",
            "https://example.com.",
            "https://example.com.:8443/hook",
            "https://example.com../",
            "https://1.1.1.1./",
        ],
    ),
    (
        "IPv6 over https, which Spin does not reach",
        &[
            "https://[2606:4700:4700::1111]/",
            "https://[2001:4860:4860::8888]:8443/",
            "https://[2a00:1450:4001:81b::200e]/",
        ],
    ),
    (
        "names that are none",
        &[
            "https://.example.com/",
            "https://example..com/",
            "https://-example.com/",
            "https://example-.com/",
            "https://exa$mple.com/",
            "https://exa^mple.com/",
            "https://exa|mple.com/",
            "https://exa<mple>.com/",
            "https://exa\"mple.com/",
            "https://*.example.com/",
            "https://{host}.example.com/",
            "https://example.com,example.net/",
            "https://example.com%00.example.net/",
            "https://example.com%2f@example.net/",
            "https://example.com%20/",
            "https://xn--/",
            "https://aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.example.com/",
            "https://example.com\u{202e}/",
        ],
    ),
];

#[tokio::test]
async fn public_https_urls_are_accepted_and_kept_as_they_are() {
    let api = standard();
    let mut wrong = Vec::new();
    for chunk in ACCEPTED.chunks(40) {
        let application = api.application();
        for url in chunk {
            let response = api.create(&application).url(url).send().await;
            if response.status != 201 || response.json()["url"] != *url {
                wrong.push(format!("{url:?}: {} {}", response.status, response.text));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        ACCEPTED.len(),
        wrong.join("\n")
    );
}

#[tokio::test]
async fn every_other_url_is_refused_in_every_spelling() {
    let api = standard();
    let application = api.application();
    let mut wrong = Vec::new();
    for (reason, urls) in REFUSED {
        for url in *urls {
            let response = api.create(&application).url(url).send().await;
            let refused = response.status == 400
                && matches!(&details(&response)[..], [(field, _)] if field == "url");
            if !refused {
                wrong.push(format!(
                    "{reason}: {url:?}: {} {}",
                    response.status, response.text
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test]
async fn no_spelling_is_both() {
    let refused: Vec<&str> = REFUSED
        .iter()
        .flat_map(|(_, urls)| urls.iter().copied())
        .collect();
    assert!(ACCEPTED.len() + refused.len() >= 80);
    for url in ACCEPTED {
        assert!(!refused.contains(url), "{url}");
    }
}

#[tokio::test]
async fn a_url_has_at_most_2048_characters() {
    let api = standard();
    let application = api.application();
    let of_length = |characters: usize, filling: &str| {
        let start = "https://example.com/";
        start.to_owned() + &filling.repeat(characters - start.len())
    };
    for filling in ["a", "\u{e4}", "\u{1f4a9}"] {
        api.create(&application)
            .url(&of_length(2048, filling))
            .expect_created()
            .await;
        let longer = api.create(&application).url(&of_length(2049, filling));
        longer.expect_bad_fields(&["url"]).await;
    }
    let far_too_long = api.create(&application).url(&of_length(16_000, "a"));
    far_too_long.expect_bad_fields(&["url"]).await;
}

#[tokio::test]
async fn a_name_has_at_most_253_characters_and_labels_of_63() {
    let api = standard();
    let application = api.application();
    let label = "a".repeat(63);
    let longest = format!("https://{label}.{label}.{label}.{}.com/", "a".repeat(57));
    assert_eq!(longest.len(), "https://".len() + 253 + "/".len());
    api.create(&application)
        .url(&longest)
        .expect_created()
        .await;
    let longer = longest.replace(".com/", "b.com/");
    api.create(&application)
        .url(&longer)
        .expect_bad_fields(&["url"])
        .await;
}

#[tokio::test]
async fn the_message_says_what_to_do_about_a_dot_and_about_ipv6() {
    let api = standard();
    let application = api.application();
    for (url, advice) in [
        ("https://merchant.example.com./", "leave the dot out"),
        ("https://[2606:4700:4700::1111]/", "use a DNS name"),
    ] {
        let create = api.create(&application).url(url);
        let response = create.expect_bad_fields(&["url"]).await;
        let [(_, message)] = &details(&response)[..] else {
            panic!("{}", response.text);
        };
        assert!(message.contains(advice), "{url}: {message}");
    }
}

/// The message is for the merchant: it says what to correct, and does not read the URL back.
#[tokio::test]
async fn the_message_does_not_repeat_the_url() {
    let api = standard();
    let application = api.application();
    for url in [
        "https://user:hunter2@example.com/",
        "http://hunter2.example.com/",
    ] {
        let response = api
            .create(&application)
            .url(url)
            .expect_bad_fields(&["url"])
            .await;
        assert!(!response.text.contains("hunter2"), "{}", response.text);
    }
}

#[tokio::test]
async fn allow_insecure_urls_accepts_http_and_private_hosts_and_nothing_else() {
    let api = custom();
    for accepted in [
        "http://example.com/",
        "http://127.0.0.1:8080/hook",
        "https://localhost/",
    ] {
        let application = api.application();
        let token = crate::configuration::token_for_custom(&application);
        api.create(&application)
            .token(&token)
            .url(accepted)
            .expect_created()
            .await;
    }
    let application = api.application();
    let token = crate::configuration::token_for_custom(&application);
    for refused in [
        "ftp://example.com/",
        "http://user@localhost/",
        "http://localhost/#fragment",
        "http://local host/",
        "http:localhost/",
        "localhost:8080",
        "",
    ] {
        let request = api
            .create(&application)
            .token(&token)
            .json(&json!({ "url": refused }));
        request.expect_bad_fields(&["url"]).await;
    }
}
