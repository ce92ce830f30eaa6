//! Documents as earlier releases wrote them: everything works on them.
//!
//! Long because each change of their shape adds one.

use application_webhooks::model::time::Timestamp;
use serde_json::{Value, json};

use crate::support::contract::{KEY_REUSED, MADE_IS_OVERTAKEN};
use crate::support::{Application, PATIENCE, Receiver, Server, Setup, local_runtime_only, poll};

const ID: &str = "43498a08-32fb-4f6d-903b-b32972ab7581";
const SECRET: &str = "whsec_WzxuQev/pJJvV0YNQdzkixG+KUaJ2AzD1H35qzI0oXOnsj88";
/// [`SECRET`], encrypted for [`ID`] with the key of these tests.
const SEALED: &str = "AfTZf73lYxtie4z3/VB1yE/nN1cphDX4gDoPaZNEpGous7oqChv4eBRQKxceQ/al5slM6CzHc40A1SJQgD3fPZvmfcKF3WPD+vX/BF4QbdGt";
const CREATED_AT: &str = "2026-11-24T12:19:37.015Z";

/// A webhook as the first release wrote it: its key alone told the application.
fn document(url: &str) -> String {
    json!({
        "v": 1,
        "id": ID,
        "url": url,
        "isActive": true,
        "subscribedEvents": ["session.completed", "session.expired"],
        "secret": {"fingerprint": "whsec_****sj88", "sealed": SEALED},
        "createdAt": CREATED_AT,
    })
    .to_string()
}

#[tokio::test]
async fn a_webhook_of_the_first_release_lives_on() {
    let receiver = Receiver::answering("200 OK", b"");
    let application = Application::new();
    let key = format!("{}{ID}", application.webhook_prefix());
    let api = Setup::new()
        .document(&application.key(), &application.document())
        .document(&key, &document(&receiver.url()))
        .document(&application.index_key(), &json!([ID]).to_string())
        .variable("allow_insecure_urls", "true")
        .variable("delivery_scheme", "*")
        .variable("store_timeout_ms", "20000")
        .into_private_networks()
        .start();
    let path = application.webhook_path(ID);
    let by = |method: &str, path: &str| api.by(&application, method, path);
    let test = async || {
        let result = by("POST", &format!("{path}/test")).expect(200).await.json();
        assert_eq!(result["success"], true, "{result}");
        (result, receiver.last())
    };

    // It is read and listed as ever.
    let mut expected = json!({
        "id": ID,
        "url": receiver.url(),
        "isActive": true,
        "keyFingerprint": "whsec_****sj88",
        "subscribedEvents": ["session.completed", "session.expired"],
        "lastTestAt": null,
        "lastTestStatus": null,
        "createdAt": CREATED_AT,
        "updatedAt": CREATED_AT,
        "previousSecrets": [],
        "disabledAt": null,
        "disabledReason": null,
    });
    let read = by("GET", &path).expect(200).await;
    assert_eq!(read.json(), expected);
    let list = by("GET", &application.path()).expect(200).await.json();
    assert_eq!(list["items"], json!([expected]));

    // Its deliveries are signed with the secret that its merchant has.
    let (result, delivery) = test().await;
    assert!(delivery.is_signed_with(SECRET));
    expected["lastTestAt"] = result["deliveredAt"].clone();
    expected["lastTestStatus"] = json!("SUCCEEDED");
    let read = by("GET", &path).expect(200).await;
    assert_eq!(read.json(), expected);

    // It is changed, under the tag of its last state only.
    let tag = read.header("etag").expect("a tag").to_owned();
    let patch = |tag: &str, body: Value| by("PATCH", &path).header("if-match", tag).json(&body);
    let changed = patch(&tag, json!({"isActive": false})).expect(200).await;
    expected["isActive"] = json!(false);
    expected["updatedAt"] = changed.json()["updatedAt"].clone();
    assert_eq!(changed.json(), expected);
    assert!(expected["updatedAt"].as_str() > Some(CREATED_AT));
    patch(&tag, json!({"isActive": true})).expect(412).await;

    // It is rotated, and both secrets sign.
    let rotate = by("POST", &format!("{path}/rotate"));
    let rotated = rotate.expect(200).await.json();
    let new = rotated["signingSecret"].as_str().expect("a secret");
    let (_, delivery) = test().await;
    assert!(delivery.is_signed_with(SECRET) && delivery.is_signed_with(new));

    // Another one is made beside it, and it is deleted.
    let second = api.create(&application).expect_created().await.webhook;
    let list = by("GET", &application.path()).expect(200).await.json();
    let ids: Vec<&Value> = list["items"]
        .as_array()
        .expect("items")
        .iter()
        .map(|item| &item["id"])
        .collect();
    assert_eq!(ids, [&json!(second.id), &json!(ID)]);
    by("DELETE", &path).expect(204).await;
    by("GET", &path).expect(404).await;
    let list = by("GET", &application.path()).expect(200).await.json();
    assert_eq!(list["totalItems"], 1);
}

/// What the service made inactive because its endpoint is gone stood in the merchant's settings.
#[tokio::test]
async fn a_webhook_that_an_earlier_release_made_inactive_is_made_active_again() {
    let application = Application::new();
    let key = format!("{}{ID}", application.webhook_prefix());
    let url = "https://merchant.example.com/hooks";
    let disabled_at = "2026-11-25T07:00:00.000Z";
    let settings = json!({
        "url": url,
        "isActive": false,
        "subscribedEvents": ["*"],
        "updatedAt": disabled_at,
        "disabledAt": disabled_at,
        "disabledReason": "gone",
    });
    let api = Setup::new()
        .document(&application.key(), &application.document())
        .document(&key, &document(url))
        .document(
            &format!("webhook-settings/{}/{ID}", application.id),
            &settings.to_string(),
        )
        .document(&application.index_key(), &json!([ID]).to_string())
        .variable("store_timeout_ms", "20000")
        .start();
    let path = application.webhook_path(ID);
    // No `webhooks-changed/…` says that it has settings: the list looks for them all the same.
    let list = api.by(&application, "GET", &application.path());
    let list = list.expect(200).await.json();
    assert_eq!(list["items"][0]["disabledReason"], "gone", "{list}");
    let read = async || {
        let read = api.by(&application, "GET", &path).expect(200).await.json();
        let member = |name: &str| read[name].clone();
        [
            member("isActive"),
            member("disabledAt"),
            member("disabledReason"),
        ]
    };
    let gone = [json!(false), json!(disabled_at), json!("gone")];
    assert_eq!(read().await, gone);
    let patch = |body: Value| api.by(&application, "PATCH", &path).json(&body).expect(200);
    patch(json!({"url": "https://merchant.example.com/others"})).await;
    assert_eq!(read().await, gone);
    patch(json!({"isActive": true})).await;
    assert_eq!(read().await, [json!(true), Value::Null, Value::Null]);
}

/// Indexes were arrays of ids; claims to names were an id; a count of changes had one minute by slot.
#[tokio::test]
async fn indexes_names_and_counts_of_the_first_release_are_read_and_indexes_get_their_dates() {
    local_runtime_only!();
    let merchant = Application::new();
    let own = |id: &str| Application {
        id: id.to_owned(),
        merchant: merchant.merchant.clone(),
    };
    let api = Setup::new()
        .variable("max_changes_per_minute", "10")
        .start();
    let applications = "/api/v1/applications";
    // This release writes them, to find out the keys.
    let create = |api: &Server, name| {
        let request = api.by(&merchant, "POST", applications);
        request.json(&json!({ "name": name }))
    };
    let first = create(&api, "first").expect(201).await.json();
    let first = own(first["id"].as_str().expect("an id"));
    let key = |prefix: &str| {
        let keys = api.store().keys(prefix);
        assert_eq!(keys.len(), 1, "{keys:?}");
        keys[0].clone()
    };
    let (index, name) = (key("applications/"), key("application-name/"));
    poll("the count", PATIENCE, || {
        (api.store().keys("changes/").len() == 1).then_some(())
    })
    .await;
    let count = key("changes/");
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    let api = api.kill().start();

    // What the first release wrote there.
    let (old, by_hand) = (own("old"), own("by-hand"));
    let document = json!({
        "merchantId": merchant.merchant, "name": "old", "description": null,
        "createdAt": "2026-01-01T00:00:00.000Z",
    });
    let set = |key: &str, value: Value| api.store().set(key, value.to_string().as_bytes());
    set(&old.key(), document);
    set(&by_hand.key(), json!({"merchantId": merchant.merchant}));
    set(&index, json!([by_hand.id, old.id, first.id, "../gone"]));
    set(&name, json!(first.id));
    let minute = std::time::UNIX_EPOCH.elapsed().expect("a time").as_secs() / 60;
    set(
        &count,
        json!({"minute": minute, "made": {"7": 4, "200": 5}, "before": 0}),
    );

    // The list is sorted as ever, and its index has the dates soon.
    let listed = async || {
        let list = api.by(&merchant, "GET", applications).expect(200).await;
        let list = list.json();
        let items = list["items"].as_array().expect("items").iter();
        let ids = items.map(|item| item["id"].as_str().expect("an id").to_owned());
        ids.collect::<Vec<_>>()
    };
    let newest_first = [&first.id, &old.id, &by_hand.id];
    assert_eq!(listed().await.iter().collect::<Vec<_>>(), newest_first);
    poll("the index has the dates", PATIENCE, || {
        let stored = api.store().get(&index).expect("an index");
        let stored: Value = serde_json::from_slice(&stored).expect("JSON");
        let stored = stored.as_array().expect("entries");
        let dated = |entry: &Value| entry.get("createdAt").is_some();
        (stored.len() == 3 && stored.iter().all(dated)).then_some(())
    })
    .await;
    assert_eq!(listed().await.iter().collect::<Vec<_>>(), newest_first);
    // The name is taken, and of ten changes nine were made.
    create(&api, "first").expect(409).await;
    create(&api, "second").expect(429).await;
}

/// Earlier releases accepted names with white space at the ends and with invisible characters.
#[tokio::test]
async fn an_application_with_a_name_of_an_earlier_release_lives_on() {
    let application = Application::new();
    let name = " Sh\u{200b}op ";
    let document = json!({
        "merchantId": application.merchant, "name": name, "createdAt": CREATED_AT,
    });
    let api = Setup::new()
        .document(&application.key(), &document.to_string())
        .variable("store_timeout_ms", "20000")
        .start();
    let path = format!("/api/v1/applications/{}", application.id);
    let mut whole = api.by(&application, "GET", &path).expect(200).await.json();
    assert_eq!(whole["name"], name);

    // It can be sent back, and is not accepted anew.
    whole["description"] = json!("d");
    let patch = |body: &Value| api.by(&application, "PATCH", &path).json(body);
    assert_eq!(patch(&whole).expect(200).await.json(), whole);
    patch(&json!({"name": " Shop"}))
        .expect_bad_fields(&["name"])
        .await;
    patch(&json!({"name": "Shop"})).expect(200).await;
    patch(&json!({ "name": name }))
        .expect_bad_fields(&["name"])
        .await;
}

/// Secrets of rotations, encrypted for [`ID`] with the key of these tests.
const SECOND: (&str, &str) = (
    "whsec_YJ5Nz7OWH46gQjPYZZtezU2PZ2USLwUn250BShdlAoDinfo/",
    "AfTZf71Tf6RhbXUvW4+otJdbE2jHHTkJGGlNeWP/19pSz53gCaxvGOTkYnktwvX41wGdBiaevxaimEaG6kK4wOhY2K3kqbfOSt+sbyWZxg5B",
);
const THIRD: (&str, &str) = (
    "whsec_7NXSAeziLeJXwmAK/hUqpjs9L3vZyLJGQSnHVkC5OYOi8snH",
    "AfTZf70tmhGC/ws0uquMbO6x0Fx8Ws5cgfJ8z58TLZ+lYkdECYiHghH9CxXbPSlqSEnrwRDbwzgnAgjtFJleOYvzh7Uqajs0vZi5z3cPG1kc",
);
const FOURTH: (&str, &str) = (
    "whsec_HWGuDBkatdcXH+UNFR2srcxfHN+f5ngeOHqeZ1l9Vr3JEbep",
    "AfTZf70ykXbrcwrrc8gzpBKiW5MxRue9Y8Je6Ox4TOo4P7URvjddoYMTuypciE9KDKHJuIbMH4Rb7dYoJbgugWjy4hoQcU4ty8Yz27QvV5Xh",
);

/// The moment so many seconds ago.
fn ago(seconds: i64) -> String {
    Timestamp::from_millis(Timestamp::now().as_millis() - seconds * 1000).to_string()
}

/// Where a rotation without grace ended only the secret just before, its merchant believed all dead.
#[tokio::test]
async fn rotations_with_several_graces_sign_as_they_said_and_without_grace_as_their_merchant_believed()
 {
    local_runtime_only!();
    let receiver = Receiver::answering("200 OK", b"");
    let application = Application::new();
    let key = format!("{}{ID}", application.webhook_prefix());
    let api = Setup::new()
        .document(&application.key(), &application.document())
        .document(&key, &document(&receiver.url()))
        .variable("allow_insecure_urls", "true")
        .variable("delivery_scheme", "*")
        .variable("store_timeout_ms", "20000")
        .into_private_networks()
        .start();
    let path = application.webhook_path(ID);
    let rotation = |number: usize, secret: (&str, &str), at: &str, grace: u32| {
        json!({
            "id": format!("1111111{number}-1111-4111-8111-111111111111"),
            "secret": {
                "fingerprint": format!("whsec_****{}", &secret.0[secret.0.len() - 4..]),
                "sealed": secret.1,
            },
            "rotatedAt": at,
            "gracePeriodSeconds": grace,
        })
    };
    let times = [ago(3000), ago(2000), ago(1000)];
    let rotations = [
        rotation(1, SECOND, &times[0], 604_800),
        rotation(2, THIRD, &times[1], 3600),
        rotation(3, FOURTH, &times[2], 0),
    ];
    let secrets = [SECRET, SECOND.0, THIRD.0, FOURTH.0];
    for (count, pruned, live) in [
        (2, false, &[0, 1, 2][..]),
        (2, true, &[1, 2]),
        (3, false, &[3]),
        (3, true, &[3]),
    ] {
        let mut stored = json!({ "rotations": rotations[..count] });
        if pruned {
            stored["pruned"] = json!(true);
        }
        let key = format!("webhook-secrets/{}/{ID}", application.id);
        api.store().set(&key, stored.to_string().as_bytes());

        let test = api.by(&application, "POST", &format!("{path}/test"));
        assert_eq!(test.expect(200).await.json()["success"], true);
        let delivery = receiver.last();
        let signing: Vec<usize> = (0..secrets.len())
            .filter(|number| delivery.is_signed_with(secrets[*number]))
            .collect();
        assert_eq!(signing, live, "{stored}");
        let read = api.by(&application, "GET", &path).expect(200).await.json();
        let shown: Vec<String> = [&read["keyFingerprint"]]
            .into_iter()
            .chain(
                read["previousSecrets"]
                    .as_array()
                    .expect("a list")
                    .iter()
                    .map(|secret| &secret["fingerprint"]),
            )
            .map(|fingerprint| fingerprint.as_str().expect("text").to_owned())
            .collect();
        let expected: Vec<String> = live
            .iter()
            .rev()
            .map(|number| &secrets[*number])
            .map(|secret| format!("whsec_****{}", &secret[secret.len() - 4..]))
            .collect();
        assert_eq!(shown, expected, "{stored}");
    }
}

/// The record of an `Idempotency-Key` as it was when it had the secret in it, and knew a request by
/// the bytes of its body.
#[tokio::test]
async fn an_idempotency_record_of_version_1_is_replayed_to_the_same_bytes() {
    const APPLICATION: &str = "an-application-of-version-1";
    const BODY: &str = r#"{ "url": "https://merchant.example.com/hooks/kadosei" }"#;
    const RECORD: &str = "idempotency/dc847c95c5ce837d7a9ce54dc29457fb";
    const REQUEST: &str = "e0ac2e823568c19c8aeb6efa4cfd93225c5c9cd14d047cfbc3bd5b8d93b0d4e0";
    const MADE: &str = "54c8d9c0-4247-4cbc-a1b0-33c0645a36f4";
    const MADE_SECRET: &str = "whsec_F6+5RoSC2dYqrZJyLxMYEMrfOnxLLcGLglNbFGDMojF7E9Li";
    const MADE_SEALED: &str = "AfTZf70RbdKsRSDU4GRiEZjHQEEWUIWr5QbvyP/XpyYNCqPe01rsW/pz3QFZ4D7vVX2TrHktFxBkRrFOIj4aHWhKmWrSY5S8cDd++IDIYENQ";
    const RESPONSE: &str = "AfTZf71PyKv2gO+0QqXWUn0W7Bz8FwM7gcqFEVY2CCvdwApd+nb4Rhy+5cTIdPia8Q8PmAt9/QUnE4RpMxsro0UtzlvYyeMiwP/tbhUaILUJyNFa2dmxstZQc9LE9rrQIbz6zzzrbwAGKKy7kOVPUhW6WaBBT0dTAL2X7CWIWlLD12NgChKCWGg83M8ASxHpXN/BcxP13lqo9mxJEjhgsfvidPI8zi8CFBW8vCcj2XB8lPc3A2wFnvSXLDw8bftWK3CVsnty61/OLxaNS7w44biix55ks+tvtVENHCrJXMmmdKkT1rDVHt9Q0H+ZAd060/DjSzEiwwyQ9a2fDNGMWMzNkuz5BZR9lBTGoK6JIEb21dRtNe4+WeZ/BT07XVrTfsnuQW9EKiHfaGyTRcqvwsJAZWxFXsP2Cc2Hfjh2Za9W8t+CfM0jr1ertPMaIo7N9HeRhUf2FRLHiY9FaS+uLgx/8agmKtHrBywCQHryRlNxoARfZpZOnzZtx95rK8Lli44VMo++jlbjcuDnZDwpohKKl5Q/EUfwtw7rSPsOhG6wKB43xAX3s579quH2uYrXjN3fM2iJ8lUR4V51Og+R5D1kmuBRxwk92SWkJt3d0bteRAMUVBQ6vpMnf18k5r1IKdw8NMZ6ryDn0txEpEdf6g7AihAe2QA5SUS0v3++8mbBsZzMNhGX4MUAbvV72W0cRkF0EW1ppiCbxwCmMdKI9YK4cR/mtE8+4s9PrPZ5EUPggI8K2HRTNPJoLX8eV4Rm+cGLUUvcr3Y1XwBHBz7ubTHEU/txgGoN9fffKu+PrMNvBgVAfm/KmsdRWHGgm6ZNuewl+yX/vCw0TgzTPouZRVjGGSE8JN+83XFSYvw5+Q==";

    let application = Application {
        id: APPLICATION.to_owned(),
        merchant: "the-first-merchant".to_owned(),
    };
    let fingerprint = format!("whsec_****{}", &MADE_SECRET[MADE_SECRET.len() - 4..]);
    let webhook = json!({
        "v": 1,
        "id": MADE,
        "applicationId": APPLICATION,
        "url": "https://merchant.example.com/hooks/kadosei",
        "isActive": true,
        "subscribedEvents": ["session.completed", "session.expired"],
        "secret": {"fingerprint": fingerprint, "sealed": MADE_SEALED},
        "createdAt": CREATED_AT,
    });
    let record = json!({
        "v": 1, "request": REQUEST, "generation": 0, "at": ago(60), "response": RESPONSE,
    });
    let api = Setup::new()
        .document(&application.key(), &application.document())
        .document(
            &format!("{}{MADE}", application.webhook_prefix()),
            &webhook.to_string(),
        )
        .document(&application.index_key(), &json!([MADE]).to_string())
        .document(RECORD, &record.to_string())
        .variable("store_timeout_ms", "20000")
        .start();
    let create = api
        .create(&application)
        .header("idempotency-key", "the-key");
    let again = create.clone().body(BODY).expect_created().await;
    assert_eq!(again.response.header("idempotency-replayed"), Some("true"));
    assert_eq!(again.webhook.id, MADE);
    assert_eq!(again.webhook.signing_secret, MADE_SECRET);
    let other = create.clone().url("https://other.example.com/");
    other.expect_error(KEY_REUSED).await;

    let rotate = format!("{}/rotate", application.webhook_path(MADE));
    let rotate = api.by(&application, "POST", &rotate);
    let rotate = rotate.json(&json!({"gracePeriodSeconds": 0}));
    rotate.expect(200).await;
    create.body(BODY).expect_error(MADE_IS_OVERTAKEN).await;
}
