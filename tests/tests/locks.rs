//! A collector that asks who somebody is: tokens from the command line, in force and revoked while it runs.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use tephra_agent::Agent;
use tephra_proto::v1::PushRequest;
use tephra_proto::v1::profile_service_client::ProfileServiceClient;
use tephra_tests::clock::eventually;
use tephra_tests::collector::{Collector, command, tephra};
use tephra_tests::process::free_port;
use tonic::transport::Endpoint;

fn token(data: &Path, arguments: &[&str]) -> Output {
    let mut command = tephra();
    command.arg("token").args(arguments);
    if arguments != ["draw"] {
        command.arg("--data").arg(data);
    }
    command.output().expect("tephra runs")
}

fn created(data: &Path, role: &str) -> String {
    let output = token(data, &["create", "--role", role, "--note", "for a test"]);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}

/// A command of `tephra` with a token, or without any.
fn with_token(collector: &Collector, token: Option<&str>, arguments: &[&str]) -> Output {
    let mut command = tephra();
    let (name, rest) = arguments.split_first().expect("a command");
    command.arg(name).args(["--server", &collector.endpoint()]).args(rest).env_remove("TEPHRA_TOKEN");
    if let Some(token) = token {
        command.env("TEPHRA_TOKEN", token);
    }
    command.output().expect("tephra runs")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn tokens_are_created_used_and_revoked_while_the_collector_runs() {
    let data = tempfile::tempdir().expect("a folder");
    let before = created(data.path(), "push");
    let collector = Collector::start_with_environment(data.path(), &["--auth"], &[]);
    for closed in ["/", "/api/v1/services", "/api/v1/status", "/metrics", "/alert?service=checkout"] {
        assert_eq!(collector.api.get(closed).status, 401, "{closed}");
    }
    assert_eq!((collector.api.get("/healthz").status, collector.api.get("/readyz").status), (200, 200));

    let reader = created(data.path(), "read");
    let delete = ["delete", "service", "checkout"];
    let refused = eventually("the token is known to the collector", || {
        let output = with_token(&collector, Some(&reader), &delete);
        said(&output).contains("the role read may not do this: it needs admin").then_some(output)
    });
    assert!(!refused.status.success());
    let missing = said(&with_token(&collector, None, &delete));
    assert!(missing.contains("asks who you are") && missing.contains("tephra token create"), "{missing}");

    let admin = created(data.path(), "admin");
    eventually("an administrator may delete", || {
        // There is no such service, and whoever may ask is told so.
        let output = said(&with_token(&collector, Some(&admin), &delete));
        output.contains("no data was ever received").then_some(())
    });

    let list = said(&token(data.path(), &["list"]));
    assert_eq!(list.matches("in force").count(), 3, "{list}");
    for secret in [&before, &reader, &admin] {
        let (id, secret) = secret.split_once('.').expect("a token");
        assert!(list.contains(id) && !list.contains(secret), "{list}");
    }
    // The whole token is as good as its id: people paste what they have.
    assert!(token(data.path(), &["revoke", &admin]).status.success());
    eventually("the revoked token is refused", || {
        let output = said(&with_token(&collector, Some(&admin), &delete));
        output.contains("was never created, or was revoked").then_some(())
    });
    let again = said(&token(data.path(), &["revoke", &admin]));
    assert!(again.contains("is in force") && again.contains("tephra token list"), "{again}");

    let auditor = created(data.path(), "admin");
    let audit = eventually("the audit trail is shown to an administrator", || {
        let header = format!("Bearer {auditor}");
        let answer = ureq::get(format!("{}/api/v1/audit", collector.endpoint())).header("authorization", header);
        answer.call().ok()?.body_mut().read_to_string().ok()
    });
    for deed in
        ["create token", "revoke token", "at the command line", "a token of role read", "DELETE /api/v1/services"]
    {
        assert!(audit.contains(deed), "{deed}: {audit}");
    }
    assert!(collector.terminate().success());
}

#[test]
fn a_first_start_may_bring_its_own_token() {
    let data = tempfile::tempdir().expect("a folder");
    let drawn = String::from_utf8(token(data.path(), &["draw"]).stdout).expect("text").trim().to_owned();
    let collector = Collector::start_with_environment(data.path(), &[], &[("TEPHRA_BOOTSTRAP_TOKEN", &drawn)]);
    assert_eq!(collector.api.get("/api/v1/services").status, 401, "whoever brings one asks for one");
    let export = ["export", "service=checkout", "--format", "folded"];
    let output = said(&with_token(&collector, Some(&drawn), &export));
    assert!(output.contains("checkout") && !output.contains("token"), "{output}");
    assert!(collector.terminate().success());
}

#[test]
fn behind_a_proxy_people_are_let_in_and_the_log_is_objects_without_secrets() {
    const PLANTED: &str = "planted-5ecret";
    let (data, logs) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let (port, log) = (free_port(), logs.path().join("log"));
    let mut serve = command(data.path(), port);
    serve.args(["--trust-proxy", "127.0.0.1", "--group-role", "staff=read", "--log-format", "json"]);
    serve.env("TEPHRA_LOG", "debug").stderr(std::fs::File::create(&log).expect("a file"));
    let collector = Collector::start_command(serve, port);
    let ask = |path: &str, said: &[(&str, &str)]| {
        let mut request = ureq::get(format!("{}{path}", collector.endpoint()));
        for (name, value) in said {
            request = request.header(*name, *value);
        }
        match request.call() {
            Ok(answer) => answer.status().as_u16(),
            Err(ureq::Error::StatusCode(status)) => status,
            Err(error) => panic!("{error}"),
        }
    };
    let secrets = [("cookie", PLANTED), ("x-forwarded-access-token", PLANTED)];
    let path = format!("/api/v1/services?x={PLANTED}&label.tenant={PLANTED}");
    assert_eq!(ask("/api/v1/services", &secrets), 401, "to trust a proxy is to ask");
    let alice = [("x-forwarded-user", "alice"), ("x-forwarded-groups", "staff"), ("x-forwarded-for", "192.0.2.7")];
    assert_eq!(ask("/api/v1/services", &[&alice[..], &secrets].concat()), 200);
    assert_eq!(ask(&path, &[&alice[..], &secrets].concat()), 400, "there are no such parameters");
    assert_eq!(ask("/api/v1/services", &[("x-forwarded-user", "eve")]), 403);
    let bearer = format!("Bearer {PLANTED}");
    assert_eq!(ask(&path, &[("authorization", &bearer)]), 401);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let pushed = runtime.block_on(async {
        let channel = Endpoint::from_shared(collector.endpoint()).expect("a URL").connect_lazy();
        let mut push = tonic::Request::new(PushRequest::default());
        push.metadata_mut().insert("authorization", bearer.parse().expect("a value"));
        ProfileServiceClient::new(channel).push(push).await
    });
    assert_eq!(pushed.expect_err("it is nobody's").code(), tonic::Code::Unauthenticated);
    assert!(collector.terminate().success());

    let text = std::fs::read_to_string(&log).expect("a log");
    let told = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("an object"));
    let requests: Vec<_> = told.filter(|line| line["target"] == "tephra_collector::request").collect();
    let by_alice = requests.iter().find(|line| line["who"] == "person:alice").expect("her request");
    assert_eq!((&by_alice["address"], &by_alice["route"]), (&"192.0.2.7".into(), &"/api/v1/services".into()));
    assert!(requests.iter().any(|line| line["route"] == "/tephra.v1.ProfileService/Push" && line["grpc_status"] == 16));
    for line in text.lines() {
        assert!(!line.contains(PLANTED), "{line}");
    }
}

#[test]
fn an_address_of_others_is_refused_with_the_three_ways_on() {
    let data = tempfile::tempdir().expect("a folder");
    let serve = |options: &[&str]| {
        let listen = format!("0.0.0.0:{}", free_port());
        let mut command: Command = tephra();
        command.arg("serve").arg("--data").arg(data.path()).args(["--listen", &listen]).args(options);
        command.output().expect("tephra runs")
    };
    for options in [&[][..], &["--auth"]] {
        let output = serve(options);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(2), "{said}");
        for way in ["--listen 127.0.0.1:", "--tls-cert FILE --tls-key FILE --auth", "--insecure"] {
            assert!(said.contains(way), "{said}");
        }
    }
    assert!(std::fs::read_dir(data.path()).expect("a folder").next().is_none(), "nothing was begun");
}

#[test]
fn an_agent_with_a_wrong_token_keeps_its_windows_until_it_has_a_right_one() {
    let data = tempfile::tempdir().expect("a folder");
    let collector = Collector::start_with_environment(data.path(), &["--auth"], &[]);
    let (pusher, reader) = (created(data.path(), "push"), created(data.path(), "read"));
    let file = data.path().join("agent-token");
    std::fs::write(&file, &reader).expect("writes");
    let agent = Agent::builder("locked")
        .endpoint(collector.endpoint())
        .token_file(&file)
        .window(Duration::from_secs(1))
        .start()
        .expect("an agent");
    let works = || std::hint::black_box((0..3_000_000u64).fold(0, |sum, n| sum ^ n.wrapping_mul(sum | 1)));
    eventually("the agent is refused", || {
        works();
        (agent.stats().failed_attempts > 0).then_some(())
    });
    assert_eq!(agent.stats().windows_delivered, 0);
    std::fs::write(&file, &pusher).expect("writes");
    eventually("its windows are taken", || {
        works();
        (agent.stats().windows_delivered > 0).then_some(())
    });
    drop(agent);
    let flame = eventually("what it sent can be read", || {
        let output = with_token(&collector, Some(&reader), &["export", "service=locked", "--format", "folded"]);
        output.status.success().then(|| said(&output))
    });
    assert!(!flame.is_empty());
    assert!(collector.terminate().success());
}

#[test]
fn tenants_are_created_and_deleted_from_the_command_line_while_the_collector_runs() {
    let data = tempfile::tempdir().expect("a folder");
    let tenant = |arguments: &[&str]| {
        let output = tephra().arg("tenant").args(arguments).arg("--data").arg(data.path()).output();
        output.expect("tephra runs")
    };
    let ours = created(data.path(), "admin");
    let collector = Collector::start_with_environment(data.path(), &["--auth"], &[]);
    let none = said(&token(data.path(), &["create", "--role", "push", "--tenant", "acme"]));
    assert!(none.contains("no tenant \"acme\"") && none.contains("tephra tenant create"), "{none}");
    for bad in ["ACME", "../acme", "a/b", ".", ""] {
        let output = tenant(&["create", bad]);
        assert_eq!(output.status.code(), Some(2), "{bad:?}");
        assert!(said(&output).contains("a-z, 0-9 and -"), "{}", said(&output));
    }
    assert!(tenant(&["create", "acme", "--retention", "30d"]).status.success());
    let theirs = token(data.path(), &["create", "--role", "admin", "--tenant", "acme"]);
    assert!(theirs.status.success(), "{}", said(&theirs));
    let theirs = String::from_utf8(theirs.stdout).expect("text").trim().to_owned();
    let retention = |token: &str| -> Option<u64> {
        let header = format!("Bearer {token}");
        let answer = ureq::get(format!("{}/api/v1/status", collector.endpoint())).header("authorization", header);
        let text = answer.call().ok()?.body_mut().read_to_string().ok()?;
        serde_json::from_str::<serde_json::Value>(&text).ok()?["retention_s"].as_u64()
    };
    let days = eventually("the tenant is let in", || retention(&theirs)) / 86_400;
    assert_eq!((days, retention(&ours).expect("an answer") / 86_400), (30, 90), "each its own store");
    let folder = data.path().join("tenants/acme");
    assert!(folder.join("catalog.sqlite").is_file());
    assert!(said(&tenant(&["list"])).contains("retention 30d"));

    assert_eq!(tenant(&["delete", "acme"]).status.code(), Some(1), "it must be meant");
    assert!(tenant(&["delete", "acme", "--yes"]).status.success());
    eventually("its data is gone", || (!folder.exists()).then_some(()));
    assert_eq!(retention(&theirs), None);
    eventually("its name is free", || tenant(&["create", "acme"]).status.success().then_some(()));
    assert!(collector.terminate().success());
}
