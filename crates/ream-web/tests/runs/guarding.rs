//! What the site refuses, and what its pages let nobody do.

use axum::body::Body;
use axum::http::Request;
use tower::ServiceExt;

use crate::Test;
use crate::client::{Consent, Served, multipart, site, try_ask};
use crate::html::{foreign, sees_payloads};
use crate::payloads::payloads;
use crate::probe::edition;

pub const TESTS: [Test; 9] = [
    ("nothing_is_changed_without_consent", nothing_is_changed_without_consent),
    ("other_hosts_and_origins_are_refused", other_hosts_and_origins_are_refused),
    ("every_answer_carries_its_policy", every_answer_carries_its_policy),
    ("the_reader_of_pages_sees_payloads", sees_payloads),
    ("payloads_are_only_ever_text", payloads_are_only_ever_text),
    ("payloads_in_file_names_are_only_ever_text", payloads_in_file_names_are_only_ever_text),
    ("payloads_in_papers_are_only_ever_text", payloads_in_papers_are_only_ever_text),
    ("no_name_leads_out_of_the_folder", no_name_leads_out_of_the_folder),
    ("bound_elsewhere_nothing_runs", bound_elsewhere_nothing_runs),
];

fn served(hostile: bool) -> (tempfile::TempDir, Served) {
    let home = tempfile::tempdir().unwrap();
    let site = Served::new(home.path(), edition(hostile));
    (home, site)
}

fn nothing_is_changed_without_consent() {
    let (_home, site) = served(false);
    let good = site.consent();
    let other = site.consent();
    let (kind, body) = multipart(&good.token, &[("action", "start")], None);
    let send = |headers: &[(&str, &str)], body: &[u8]| {
        let mut all = vec![("content-type", kind.as_str())];
        all.extend_from_slice(headers);
        site.ask("POST", "/papers/probe/run", &all, body)
    };
    let refused = |answer: crate::client::Answer, why: &str| {
        assert_eq!(answer.status, 403, "{why}");
        assert!(answer.text().contains("<code>csrf</code>"), "{why}");
    };
    refused(send(&[], &body), "no cookie");
    refused(send(&[("cookie", &other.cookie)], &body), "the token of another cookie");
    let port = site.address.port();
    refused(send(&[("cookie", &format!("ream-{port}={}", "0".repeat(32)))], &body), "a cookie of one's own");
    let (_, without) = multipart("", &[("action", "start")], None);
    refused(send(&[("cookie", &good.cookie)], &without), "an empty token");
    let (_, half) = multipart(&good.token[..63], &[("action", "start")], None);
    refused(send(&[("cookie", &good.cookie)], &half), "a cut token");
    let late = String::from_utf8(body.clone()).unwrap().replacen("name=\"csrf\"", "name=\"seeds\"", 1);
    refused(send(&[("cookie", &good.cookie)], late.as_bytes()), "not the first field");
    refused(
        site.ask(
            "POST",
            "/papers/probe/run",
            &[("cookie", &good.cookie), ("content-type", "text/plain")],
            &body,
        ),
        "a plain text",
    );
    refused(site.ask("POST", "/papers/probe/run", &[("cookie", &good.cookie)], b""), "nothing");
    for path in ["/runs/x/cancel", "/runs/x/resume", "/papers/probe/run", "/nowhere"] {
        for method in ["POST", "PUT", "DELETE", "PATCH"] {
            assert_eq!(site.ask(method, path, &[], b"").status, 403, "{method} {path}");
        }
    }
    assert!(site.page("/runs").contains("No runs"));
    // A program may send the token in a header.
    let headers = [("cookie", good.cookie.as_str()), ("x-csrf-token", good.token.as_str())];
    assert_eq!(send(&headers, &body).status, 303);
    assert_eq!(site.post(&good, "/runs/none/cancel", &[]).status, 404, "and then the route is asked");
}

fn other_hosts_and_origins_are_refused() {
    let (_home, site) = served(false);
    let port = site.address.port();
    let host = |name: &str| site.ask("GET", "/runs", &[("host", name)], b"").status;
    for name in [format!("127.0.0.1:{port}"), format!("localhost:{port}"), format!("[::1]:{port}")] {
        assert_eq!(host(&name), 200, "{name}");
    }
    for name in [
        format!("evil.example:{port}"),
        "localhost".to_owned(),
        format!("localhost:{}", port ^ 1),
        format!("127.0.0.1.evil.example:{port}"),
        String::new(),
    ] {
        assert_eq!(host(&name), 421, "{name}");
    }
    let twice = [("host", &*format!("localhost:{port}")), ("host", "evil.example")];
    assert_eq!(site.ask("GET", "/runs", &twice, b"").status, 421);
    let absolute = try_ask(site.address, "GET", "http://evil.example/runs", &[], b"").unwrap();
    assert_eq!(absolute.status, 421);

    let consent = site.consent();
    let own = format!("http://localhost:{port}");
    let post = |headers: &[(&str, &str)]| {
        let (kind, body) = multipart(&consent.token, &[("action", "look")], None);
        let mut all = vec![("content-type", kind.as_str()), ("cookie", consent.cookie.as_str())];
        all.extend_from_slice(headers);
        site.ask("POST", "/papers/probe/run", &all, &body).status
    };
    assert_eq!(post(&[("origin", &own), ("sec-fetch-site", "same-origin")]), 200);
    assert_eq!(post(&[]), 200, "a program that is no browser");
    assert_eq!(post(&[("origin", "http://evil.example"), ("sec-fetch-site", "cross-site")]), 403);
    assert_eq!(post(&[("origin", "null"), ("sec-fetch-site", "cross-site")]), 403);
    assert_eq!(post(&[("sec-fetch-site", "cross-site")]), 403);
    assert_eq!(post(&[("sec-fetch-site", "same-site")]), 403);
    assert_eq!(
        post(&[("origin", &format!("http://localhost:{}", port ^ 1)), ("sec-fetch-site", "same-site")]),
        403
    );
    let get = |headers: &[(&str, &str)]| site.ask("GET", "/runs", headers, b"").status;
    assert_eq!(get(&[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")]), 200, "a link");
    assert_eq!(get(&[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors")]), 403, "an image");
    assert_eq!(get(&[("origin", "http://evil.example")]), 403);
}

fn every_answer_carries_its_policy() {
    let (_home, site) = served(false);
    let long = "x".repeat(40_000);
    let answers = [
        site.get("/runs"),
        site.get("/nowhere"),
        site.get("/runs/%2e%2e"),
        site.ask("POST", "/runs", &[], b""),
        site.ask("GET", "/runs", &[("host", "evil.example")], b""),
        site.ask("GET", "/runs", &[("x-long", &long)], b""),
        site.get("/compare?a=none&b=none"),
    ];
    assert_eq!(answers[5].status, 431);
    for answer in &answers {
        let policy = answer.header("content-security-policy").unwrap();
        for part in [
            "default-src 'none'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "form-action 'self'",
            "'nonce-",
        ] {
            assert!(policy.contains(part), "{policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("referrer-policy"), Some("same-origin"));
        assert_eq!(answer.header("cross-origin-opener-policy"), Some("same-origin"));
        assert_eq!(answer.header("cross-origin-resource-policy"), Some("same-origin"));
    }
    let nonce = |answer: &crate::client::Answer| {
        answer.header("content-security-policy").unwrap().split("'nonce-").nth(1).unwrap()[..32].to_owned()
    };
    assert_ne!(nonce(&answers[0]), nonce(&answers[1]), "a nonce is used once");
}

fn payloads_are_only_ever_text() {
    let all = payloads();
    assert!(
        all.len() >= 150 && all.iter().collect::<std::collections::BTreeSet<_>>().len() == all.len(),
        "{}",
        all.len()
    );
    let (_home, site) = served(true);
    let consent = site.consent();
    let id = site.start(&consent, &[("set.hostile", "true"), ("set.pause", "0"), ("seeds", "1")]);
    let other = site.start(&consent, &[("set.pause", "0"), ("seeds", "1")]);
    site.wait(&other, "finished");
    site.wait(&id, "finished");
    let paths = [
        format!("/runs/{id}"),
        format!("/runs/{id}/explain/c1"),
        "/runs".to_owned(),
        "/papers/probe/run".to_owned(),
        format!("/papers/probe/run?like={id}"),
        format!("/compare?a={id}&b={other}"),
        format!("/compare?a={id}"),
    ];
    for path in &paths {
        let page = site.page(path);
        assert_eq!(foreign(&page), Vec::<String>::new(), "{path}");
    }
    let page = site.page(&format!("/runs/{id}"));
    assert!(page.contains("window.pwned=1") && page.contains("&#60;script&#62;"), "they are shown");
    assert!(page.contains("data-name=\"hostile\""), "figures too");
    for payload in &all {
        let typed = site.submit(
            &consent,
            &[("set.steps", payload), ("seeds", payload), ("minutes", payload), ("action", "look")],
            None,
        );
        assert_eq!(typed.status, 422);
        assert_eq!(foreign(&typed.text()), Vec::<String>::new(), "{payload}");
        let quoted: String = payload.bytes().map(|b| format!("%{b:02x}")).collect();
        for path in [
            format!("/runs?paper={quoted}&state={quoted}"),
            format!("/compare?a={quoted}&b={quoted}"),
            format!("/papers/{quoted}/run"),
            format!("/runs/{quoted}"),
            format!("/runs/{id}/explain/{quoted}"),
            format!("/runs/{id}/files/{quoted}"),
            format!("/papers/probe/run?preset={quoted}"),
        ] {
            assert_eq!(foreign(&site.get(&path).text()), Vec::<String>::new(), "{path}");
        }
    }
    // Pictures and reports taken away are escaped too.
    for path in [format!("/runs/{id}/figures/hostile.svg"), format!("/runs/{id}/files/report.html")] {
        let text = site.page(&path);
        assert!(!text.to_ascii_lowercase().contains("<script") && !text.contains("<img"), "{path}");
    }
}

fn payloads_in_file_names_are_only_ever_text() {
    let (_home, site) = served(false);
    let consent = site.consent();
    for (i, payload) in payloads().iter().enumerate() {
        let good = format!("x,y\n1,{i}\n2,3\n");
        let kept = site.submit(&consent, &[("action", "look")], Some((payload, good.as_bytes())));
        assert_eq!(kept.status, 200, "{payload}: {}", kept.text());
        assert_eq!(foreign(&kept.text()), Vec::<String>::new(), "{payload}");
        let wrong = site.submit(&consent, &[("action", "look")], Some((payload, b"x,y\n1,2\n<script>,3\n")));
        assert_eq!(wrong.status, 422, "{payload}");
        assert_eq!(foreign(&wrong.text()), Vec::<String>::new(), "{payload}");
    }
}

fn payloads_in_papers_are_only_ever_text() {
    let (_home, site) = served(true);
    let consent = site.consent();
    let all = payloads();
    let mut lines = String::new();
    for (i, payload) in all.iter().enumerate() {
        let record = serde_json::json!({
            "title": format!("{payload} {i}"), "abstract": payload, "authors": [{ "name": payload }], "organisations": [payload],
            "topics": [payload], "venue": payload, "arxiv": format!("2401.{i:05}"), "date": "2024-01-02",
            "links": [{ "label": payload, "url": "https://example.org/" }],
        });
        lines += &format!("{record}\n");
    }
    // The importer's own complaints repeat what they are about.
    for payload in &all {
        let link = serde_json::json!({ "title": payload, "links": [{ "label": payload, "url": payload }] });
        lines += &format!("{link}\n");
    }
    let (kind, body) = multipart(&consent.token, &[("text", &lines)], None);
    let taken = site.ask("POST", "/import", &[("content-type", &kind), ("cookie", &consent.cookie)], &body);
    assert_eq!(taken.status, 303, "{}", taken.text());
    let report = taken.header("location").unwrap().to_owned();
    let begun = std::time::Instant::now();
    let mut ways = std::collections::BTreeSet::new();
    while ways.len() < all.len() / 2 && begun.elapsed().as_secs() < 30 {
        // Papers that the lists lead to, page by page.
        let mut next = Some("/?sort=newest&period=all".to_owned());
        while let Some(path) = next.take() {
            let page = site.page(&path);
            assert_eq!(foreign(&page), Vec::<String>::new(), "{path}");
            let links = page.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next());
            ways.extend(links.clone().filter(|to| to.starts_with("/papers/")).map(str::to_owned));
            next = links
                .map(|to| to.replace("&#38;", "&").replace("&amp;", "&"))
                .find(|to| to.contains("after="))
                .filter(|to| *to != path);
        }
    }
    assert!(ways.len() >= all.len() / 2, "{} papers are led to: {}", ways.len(), site.get(&report).text());
    for path in [
        "/search?q=window",
        "/search?q=title:window&mode=text",
        "/authors",
        "/organisations",
        "/scoreboard",
        "/families/causal",
        "/ranking",
        "/about",
        "/keys",
        "/import",
        "/papers/probe",
        &report,
    ]
    .into_iter()
    .chain(ways.iter().map(String::as_str))
    {
        assert_eq!(foreign(&site.get(path).text()), Vec::<String>::new(), "{path}");
    }
    for payload in &all {
        let quoted: String = payload.bytes().map(|b| format!("%{b:02x}")).collect();
        for path in [
            format!("/search?q={quoted}"),
            format!("/papers/{quoted}"),
            format!("/authors/{quoted}"),
            format!("/families/{quoted}"),
            format!("/?family={quoted}&sort={quoted}"),
        ] {
            assert_eq!(foreign(&site.get(&path).text()), Vec::<String>::new(), "{path}");
        }
    }
}

fn no_name_leads_out_of_the_folder() {
    let (home, site) = served(false);
    let consent = site.consent();
    let id = site.start(&consent, &[("set.pause", "0")]);
    site.wait(&id, "finished");
    // A run beside the folder of runs, which would open if a name could lead there.
    let secret = home.path().join("secret");
    std::fs::create_dir(&secret).unwrap();
    std::fs::copy(site.home.join("runs").join(&id).join("run.toml"), secret.join("run.toml")).unwrap();
    for name in [
        "../secret",
        "..",
        ".",
        "",
        "..%2fsecret",
        "%2e%2e/secret",
        "%2e%2e%2fsecret",
        "..%5csecret",
        "..%00",
        "%2e",
        "....//secret",
        "%252e%252e%252fsecret",
        "secret%2f..",
        "/etc",
        "%2fetc",
    ] {
        for rest in ["", "/report.json", "/events", "/files/run.toml", "/explain/c1", "/figures/walk.svg"] {
            let answer = site.get(&format!("/runs/{name}{rest}"));
            assert!(
                matches!(answer.status, 400 | 404) || (name.is_empty() || name == ".") && answer.status < 400,
                "{name}{rest}: {}",
                answer.status
            );
            assert!(!answer.text().contains("config_hash"), "{name}{rest}");
        }
        assert!(matches!(site.get(&format!("/compare?a={name}&b={id}")).status, 200 | 404), "{name}");
        let status = site.post(&consent, &format!("/runs/{name}/cancel"), &[]).status;
        assert!(matches!(status, 400 | 404 | 405), "{name}: {status}");
    }
    for file in [
        "../run.toml",
        "..%2frun.toml",
        "seed-1%2fobservations.json",
        "wall.json",
        "parent.lock",
        "limits.json",
        "table-0.csv",
        "table-9.csv",
        "table-1.exe",
        "%2fetc%2fpasswd",
    ] {
        assert_eq!(site.get(&format!("/runs/{id}/files/{file}")).status, 404, "{file}");
    }
    for figure in ["..%2f..%2f..%2frun.toml", "walk", "walk.png", "..%2fwalk.svg", ".svg"] {
        assert_eq!(site.get(&format!("/runs/{id}/figures/{figure}")).status, 404, "{figure}");
    }
    for upload in ["../../secret/run.toml", "run.toml", &format!("{}.toml", "0".repeat(64))] {
        let answer = site.submit(&consent, &[("upload", upload), ("action", "start")], None);
        assert_eq!(answer.status, 400, "{upload}");
    }
}

fn bound_elsewhere_nothing_runs() {
    let home = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let away = site(home.path(), edition(false), "192.168.1.5:8040".parse().unwrap()).await;
        let mut named = site(home.path(), edition(false), "127.0.0.1:8040".parse().unwrap()).await;
        named.options.hosts.push("papers.lab.example".to_owned());
        only_read(ream_web::router(away).await.unwrap(), "192.168.1.5:8040").await;
        only_read(ream_web::router(named).await.unwrap(), "papers.lab.example").await;
    });
    assert!(!home.path().join("runs").exists());
}

async fn only_read(router: axum::Router, host: &str) {
    let consent = Consent { cookie: format!("ream-8040={}", "0".repeat(32)), token: "0".repeat(64) };
    let (kind, body) = multipart(&consent.token, &[("action", "start")], None);
    let text = async |request: Request<Body>| {
        let answer = router.clone().oneshot(request).await.unwrap();
        let status = answer.status().as_u16();
        let bytes = axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap();
        (status, String::from_utf8_lossy(&bytes).into_owned())
    };
    for path in ["/papers/probe/run", "/runs/x/cancel", "/runs/x/resume", "/import"] {
        let request = Request::post(path)
            .header("host", host)
            .header("content-type", &kind)
            .header("cookie", &consent.cookie);
        let (status, page) = text(request.body(Body::from(body.clone())).unwrap()).await;
        assert!(status == 403 && page.contains("<code>runs_off</code>"), "{path}: {page}");
    }
    let (status, page) =
        text(Request::get("/papers/probe/run").header("host", host).body(Body::empty()).unwrap()).await;
    assert_eq!(status, 200, "reading works");
    assert!(!page.contains("Start the run") && page.contains("can only be read"), "{page}");
}
