//! The log of a real session, verified, and what the policy has it say.

use portcullis::model::scripted::Turn;

use super::support::{World, finish, one, shell};

const TOKEN: &str = "ghp_0123456789012345678901234567890123456789";

fn whole_log(world: &World) -> String {
    std::fs::read_to_string(&world.logs()[0]).unwrap()
}

#[test]
fn a_sessions_log_verifies_and_a_changed_one_does_not() {
    let world = World::new();
    world.play([one(shell("echo hello > file")), Turn::message("Done.")]).well();
    let verify = |arguments: &[&str]| finish(&mut world.command(&[&["audit", "verify"], arguments].concat()));
    let ended = verify(&[]);
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    assert!(ended.stdout.ends_with("one log: intact, complete\n"), "{ended:?}");
    assert_eq!(verify(&["last"]).code(), Some(0));
    let head = finish(&mut world.command(&["audit", "head"])).stdout;
    assert_eq!(verify(&["--anchor", head.trim()]).code(), Some(0));
    // Without any key nobody speaks for it; with the public half alone, its signature does.
    let nowhere = world.path("nowhere").display().to_string();
    assert_eq!(verify(&["last", "--keys", &nowhere]).code(), Some(8));
    let shown = finish(&mut world.command(&["audit", "key", "show"])).stdout;
    let public = shown.split_whitespace().last().unwrap();
    assert_eq!(verify(&["last", "--keys", &nowhere, "--public", public]).code(), Some(0));
    // The policy that was in force is in it, whole.
    assert!(whole_log(&world).contains("\"event\":\"policy\"") && whole_log(&world).contains("filesystem.write all"));

    let changed = whole_log(&world).replace("echo hello", "echo hallo");
    std::fs::write(&world.logs()[0], changed).unwrap();
    let ended = verify(&["--json"]);
    assert_eq!(ended.code(), Some(9), "{ended:?}");
    let verdict: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((&verdict["integrity"], &verdict["sessions"][0]["findings"][0]["kind"]), (&"broken".into(), &"edited".into()));
}

#[test]
fn an_export_verifies_and_what_a_filter_leaves_out_is_not_in_it() {
    let world = World::new();
    world.play([one(shell("echo of-the-first")), one(shell("git push of-the-second")), Turn::message("Done.")]);
    let to = world.path("out.jsonl").display().to_string();
    let export = |filter: &[&str]| {
        let arguments = [&["audit", "export", "last", "--format", "jsonl", "--to", &to], filter].concat();
        assert_eq!(finish(&mut world.command(&arguments)).code(), Some(0));
        (std::fs::read_to_string(&to).unwrap(), finish(&mut world.command(&["audit", "verify", &to])))
    };
    let (whole, verified) = export(&[]);
    assert_eq!((whole, verified.code()), (whole_log(&world), Some(0)), "{verified:?}");
    let (part, verified) = export(&["--denied"]);
    assert!(part.contains("of-the-second") && !part.contains("of-the-first"), "{part}");
    assert_eq!(verified.code(), Some(8), "{verified:?}");
    assert!(verified.stdout.contains("intact, INCOMPLETE"), "{verified:?}");
    let shown = finish(&mut world.command(&["audit", "show", "last", "--json"])).stdout;
    assert_eq!(shown, whole_log(&world), "as they are");
}

#[test]
fn what_has_the_shape_of_a_token_is_not_in_the_log() {
    let world = World::new();
    let played = world.play([one(shell(&format!("echo {TOKEN} | wc -c"))), Turn::message("Done.")]).well();
    assert!(played.output().contains("45"), "the call itself was as the model wrote it: {}", played.output());
    assert!(!whole_log(&world).contains(TOKEN) && whole_log(&world).contains("echo [redacted] | wc -c"));
    assert_eq!(finish(&mut world.command(&["audit", "verify"])).code(), Some(0));
}

#[test]
fn where_only_metadata_is_recorded_no_word_of_a_call_is_in_the_log() {
    let world = World::new();
    let policy = "schema = 1\nname = \"quiet\"\nextends = \"workspace-write\"\n[audit]\ndetail = \"metadata\"\nsync = \"each\"\n";
    let policy = world.write("quiet.toml", policy).display().to_string();
    let turns = [one(shell("echo what-was-said; cat /etc/shadow")), one(shell("git push what-was-said")), Turn::message("Done.")];
    world.play_with(&["--policy", &policy], turns);
    let log = whole_log(&world);
    assert!(log.contains("\"tool\":\"shell\"") && log.contains("\"decision\":\"refuse\"") && log.contains("[not recorded: "), "{log}");
    assert!(!log.contains("what-was-said") && !log.contains("\"resource\":\"/etc/shadow\""), "{log}");
    assert_eq!(finish(&mut world.command(&["audit", "verify"])).code(), Some(0));
}

#[test]
fn a_repository_has_no_say_in_what_is_recorded() {
    let world = World::new();
    world.write(
        "ws/.portcullis/policy.toml",
        "schema = 1\nname = \"theirs\"\n[audit]\ndetail = \"metadata\"\nkeep = \"1d\"\non_failure = \"continue\"\n",
    );
    world.play([one(shell("echo what-was-said")), Turn::message("Done.")]).well();
    let log = whole_log(&world);
    assert!(log.contains("what-was-said") && log.contains("is not its own to say"), "{log}");
}

#[test]
fn a_policy_that_was_tried_here_has_its_certificate_at_the_head_of_the_log() {
    let world = World::new();
    let workspace = world.workspace().display().to_string();
    let verified = finish(&mut world.command(&["policy", "verify", "--workspace", &workspace, "--save", "--json"]));
    assert_eq!(verified.code(), Some(0), "{verified:?}");
    let certificate: serde_json::Value = serde_json::from_str(&verified.stdout).unwrap();
    world.play([Turn::message("Done.")]).well();
    let in_log = || {
        let mut logs = world.logs();
        logs.sort();
        let records = super::support::records_of(logs.last().unwrap());
        records.into_iter().find(|record| record["event"] == "certificate").map(|record| record["certificate"].clone())
    };
    assert_eq!(in_log(), Some(certificate.clone()));
    // One that nobody signed, or that says something else by now, is not taken for one.
    let kept = std::fs::read_dir(world.path("state/certificates")).unwrap().next().unwrap().unwrap().path();
    let changed =
        std::fs::read_to_string(&kept).unwrap().replacen("\"read back\"", "\"holds\"", 1).replacen("\"read-back\"", "\"holds\"", 1);
    assert_ne!(changed, std::fs::read_to_string(&kept).unwrap());
    std::fs::write(&kept, changed).unwrap();
    world.play([Turn::message("Done.")]).well();
    assert_eq!(in_log(), None);
    assert_eq!(finish(&mut world.command(&["audit", "verify"])).code(), Some(0));
}

#[test]
fn a_key_that_others_can_read_seals_nothing() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new();
    world.play([Turn::message("Done.")]).well();
    let keys = std::fs::read_dir(world.path("state/keys")).unwrap().map(|entry| entry.unwrap().path());
    let key = keys.into_iter().find(|path| path.extension().is_some_and(|end| end == "key")).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let played = world.play([Turn::message("Done.")]);
    assert_eq!(played.ended.code(), Some(6), "{:?}", played.ended);
    assert!(played.ended.stderr.contains("audit key rotate") && played.requests.is_empty(), "{:?}", played.ended);
    assert_eq!(finish(&mut world.command(&["audit", "key", "rotate"])).code(), Some(0));
    world.play([Turn::message("Done.")]).well();
}

#[test]
fn each_record_of_a_session_is_what_the_schema_says() {
    let world = World::new();
    let workspace = world.workspace().display().to_string();
    assert_eq!(finish(&mut world.command(&["policy", "verify", "--workspace", &workspace, "--save"])).code(), Some(0));
    let turns = [
        one(shell("echo hello > file; cat ~/.ssh/id_ed25519; touch .git/hooks/x")),
        one(shell("unshare -r true; exit 3")),
        one(shell("git push origin main")),
        Turn::message("Done."),
    ];
    world.play(turns);
    assert_eq!(finish(&mut world.command(&["audit", "erase", "last", "5"])).code(), Some(0));
    let quiet = "schema = 1\nname = \"quiet\"\nextends = \"workspace-write\"\n[audit]\ndetail = \"metadata\"\n";
    let quiet = world.write("quiet.toml", quiet).display().to_string();
    world.play_with(&["--policy", &quiet], [one(shell("echo hello; cat /etc/shadow")), Turn::message("Done.")]);

    let schema = finish(&mut world.command(&["audit", "schema"])).stdout;
    let validator = jsonschema::draft202012::new(&serde_json::from_str(&schema).unwrap()).unwrap();
    let logs: String = world.logs().iter().map(|log| std::fs::read_to_string(log).unwrap()).collect();
    let records: Vec<serde_json::Value> = logs.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut met = std::collections::BTreeSet::new();
    for record in &records {
        let faults: Vec<String> = validator.iter_errors(record).map(|error| error.to_string()).collect();
        assert_eq!(faults, Vec::<String>::new(), "{record}");
        met.insert(record["event"].as_str().unwrap_or("erased").to_owned());
        if record["event"].is_string() {
            let mut unknown = record.clone();
            unknown["event"] = "no_such_event".into();
            assert!(!validator.is_valid(&unknown), "{unknown}");
        }
    }
    for event in [
        "log_opened",
        "certificate",
        "policy",
        "session_start",
        "call_intent",
        "call_outcome",
        "turn_end",
        "checkpoint",
        "session_end",
        "erased",
    ] {
        assert!(met.contains(event), "no {event} among {met:?}");
    }
    assert!(records.iter().any(|record| record["denials"].as_array().is_some_and(|denials| !denials.is_empty())));
}
