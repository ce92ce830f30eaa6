//! An instance serves many requests of many merchants: none sees another's data through it.

use crate::support::contract::{FORBIDDEN, UNAUTHORIZED};
use crate::support::faults::stats;
use crate::support::{Application, local_runtime_only, standard, unique};

#[tokio::test]
async fn instances_are_reused() {
    local_runtime_only!();
    let api = standard();
    let instances = || stats(api)["instances"].as_u64().expect("a number");
    let application = api.application();
    api.create(&application).expect(201).await;
    let before = instances();
    for _ in 0..40 {
        api.create(&application).expect(201).await;
    }
    // Other tests of this server need some meanwhile, but nobody needs one for each request.
    assert!(
        instances() - before < 40,
        "{} new instances",
        instances() - before
    );
}

#[tokio::test]
async fn a_merchants_token_opens_nothing_for_the_next() {
    let api = standard();
    let (mine, theirs) = (api.application(), api.application());
    for _ in 0..10 {
        api.create(&mine).expect(201).await;
        api.create(&mine)
            .without_token()
            .expect_error(UNAUTHORIZED)
            .await;
        api.create(&mine)
            .token(&theirs.token())
            .expect_error(FORBIDDEN)
            .await;
        api.create(&theirs)
            .token(&mine.token())
            .expect_error(FORBIDDEN)
            .await;
        // Almost the token that was just believed.
        let token = mine.token();
        let cut = &token[..token.len() - 1];
        api.create(&mine)
            .token(cut)
            .expect_error(UNAUTHORIZED)
            .await;
        api.create(&mine)
            .token(&format!("{token}A"))
            .expect_error(UNAUTHORIZED)
            .await;
        api.create(&mine)
            .token(&token.to_uppercase())
            .expect_error(UNAUTHORIZED)
            .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_merchants_get_each_their_own_answer() {
    let api = standard();
    let applications: Vec<Application> = (0..10).map(|_| api.application()).collect();
    let mut requests = Vec::new();
    for round in 0..20 {
        for (number, application) in applications.iter().enumerate() {
            let mark = unique("mark");
            let url = format!("https://{mark}.example.com/");
            let create = api.create(application).url(&url);
            let stranger = &applications[(number + 1) % applications.len()];
            let (request, status) = match round % 4 {
                0 | 1 => (create, 201),
                2 => (create.token(&stranger.token()), 403),
                _ => (create.url(&format!("http://{mark}.example.com/")), 400),
            };
            let location = format!("{}/", application.path());
            requests.push(tokio::spawn(async move {
                let response = request.expect(status).await;
                if status == 201 {
                    assert_eq!(response.json()["url"], url);
                    let told = response.header("location").expect("checked");
                    assert!(told.starts_with(&location), "{told}");
                } else {
                    assert!(!response.text.contains("whsec_"), "{}", response.text);
                    assert!(!response.text.contains("mark-"), "{}", response.text);
                }
                response.request_id().to_owned()
            }));
        }
    }
    let mut ids = std::collections::HashSet::new();
    for request in requests {
        assert!(
            ids.insert(request.await.expect("a request")),
            "a request id twice"
        );
    }
}
