//! The Job of the example for Kubernetes: its container's script, in what a kubelet makes of its security context, and in what is left of it when a
//! field is taken away.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use serde_json::{Value, json};

use super::{
    collector::{Collector, Sink},
    schemas::KUBERNETES,
    site::Site,
    support::{Ended, finish, skip, wait_until},
};

const RUNTIME: &str = include_str!("container.py");

/// The manifest.
struct Manifest {
    tasks: Value,
    job: Value,
}

impl Manifest {
    fn read() -> Self {
        let documents: Vec<Value> = serde_saphyr::from_multiple(KUBERNETES).unwrap();
        let [tasks, job] = documents.try_into().unwrap();
        Self { tasks: tasks["data"].clone(), job }
    }

    fn pod(&self) -> &Value {
        &self.job["spec"]["template"]["spec"]
    }

    fn container(&self) -> &Value {
        &self.pod()["containers"][0]
    }

    /// What decides what a process in the container can enforce, with the defaults of Kubernetes for what is not said.
    fn context(&self) -> Value {
        let (pod, container) = (&self.pod()["securityContext"], &self.container()["securityContext"]);
        let known = ["runAsNonRoot", "runAsUser", "runAsGroup", "fsGroup", "seccompProfile", "appArmorProfile"];
        let known_too = ["allowPrivilegeEscalation", "readOnlyRootFilesystem", "capabilities", "procMount"];
        for (name, _) in pod.as_object().unwrap().iter().chain(container.as_object().unwrap()) {
            assert!(known.contains(&name.as_str()) || known_too.contains(&name.as_str()), "no test knows `{name}`");
        }
        json!({
            "hostUsers": self.pod()["hostUsers"].as_bool().unwrap_or(true),
            "runAsUser": pod["runAsUser"].as_u64().unwrap_or(0),
            "allowPrivilegeEscalation": container["allowPrivilegeEscalation"].as_bool().unwrap_or(true),
            "readOnlyRootFilesystem": container["readOnlyRootFilesystem"].as_bool().unwrap_or(false),
            "dropAll": container["capabilities"]["drop"] == json!(["ALL"]),
            "procMount": container["procMount"].as_str().unwrap_or("Default"),
            "seccompProfile": pod["seccompProfile"]["type"].as_str().unwrap_or("Unconfined"),
        })
    }

    /// Where a path of the container lies in a site.
    fn place(&self, site: &Site, path: &str) -> PathBuf {
        let folders = [("/work/repository", "ws"), ("/work/", ""), ("/tmp", "tmp"), ("/tasks", "tasks"), ("/results", "results")];
        let (mount, folder) = folders.into_iter().find(|(mount, _)| path.starts_with(mount)).unwrap_or_else(|| panic!("{path}"));
        site.world.path(folder).join(path[mount.len()..].trim_start_matches('/'))
    }

    /// A command in the container of a pod with an index, in a security context.
    fn command(&self, site: &Site, context: &Value, index: usize, collector: &str, arguments: &[&str]) -> Command {
        let (container, mut context) = (self.container(), context.clone());
        // The volume of the tasks alone is not writable.
        let writable = ["ws", "state", "home", "tmp", "results"];
        context["writable"] = writable.map(|folder| site.world.path(folder).display().to_string()).into();
        for (name, text) in self.tasks.as_object().unwrap() {
            site.world.write(&format!("tasks/{name}"), text.as_str().unwrap());
        }
        let mut command = site.program("python3");
        command.current_dir(self.place(site, container["workingDir"].as_str().unwrap()));
        command.args(["-c", RUNTIME, &context.to_string()]).args(arguments);
        for variable in container["env"].as_array().unwrap() {
            let Some(value) = variable["value"].as_str() else { continue };
            match variable["name"].as_str().unwrap() {
                "OTLP_ENDPOINT" => command.env("OTLP_ENDPOINT", collector),
                name => command.env(name, self.place(site, value)),
            };
        }
        command.env("JOB_COMPLETION_INDEX", index.to_string());
        command
    }

    /// The container's own command.
    fn run(&self, site: &Site, context: &Value, index: usize, collector: &str) -> Ended {
        let words = |name: &str| self.container()[name].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect::<Vec<_>>();
        finish(&mut self.command(site, context, index, collector, &[words("command"), words("args")].concat()))
    }
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

#[test]
fn pods_side_by_side_each_do_their_task_and_all_of_their_logs_arrive() {
    let manifest = Manifest::read();
    let theirs = Collector::start();
    if theirs.is_none() {
        let name = "pods_side_by_side_each_do_their_task_and_all_of_their_logs_arrive";
        assert!(std::env::var_os("PORTCULLIS_NO_SKIP").is_none(), "{name}: PORTCULLIS_COLLECTOR names no collector");
        skip(name, "PORTCULLIS_COLLECTOR names no collector (rotel); the logs go to a receiver of the test's own");
    }
    let own = Sink::new();
    let url = theirs.as_ref().map_or(own.url.as_str(), |collector| collector.url.as_str());
    // As many pods for each task as show that they do not get into each other's way.
    let sites: Vec<(usize, Site)> =
        (0..6).map(|pod| (pod % manifest.tasks.as_object().unwrap().len(), Site::new(&format!("mark{pod}")))).collect();
    thread::scope(|scope| {
        for (index, site) in &sites {
            let manifest = &manifest;
            scope.spawn(move || {
                let ended = manifest.run(site, &manifest.context(), *index, url);
                assert_eq!(ended.code(), Some(0), "{ended:#?}");
                assert!(ended.stdout.contains("\"turn.finished\""), "{ended:#?}");
            });
        }
    });
    for (pod, (index, site)) in sites.iter().enumerate() {
        site.worked(manifest.tasks[format!("task-{index}")].as_str().unwrap(), &format!("mark{pod}"));
        let patch = site.world.read(&format!("results/{index}.patch"));
        assert!(patch.contains(&format!("\n+mark{pod}\n")), "{patch}");
    }
    // One session each, told apart by its id.
    let sessions: Vec<String> = sites
        .iter()
        .flat_map(|(_, site)| site.world.logs())
        .map(|log| log.file_stem().unwrap().to_str().unwrap().replace('-', ""))
        .filter(|session| theirs.is_none() || !session.is_empty())
        .collect();
    let all = || match &theirs {
        Some(collector) => collector.said(),
        None => own.taken("/v1/logs").concat() + &own.taken("/v1/traces").concat(),
    };
    wait_until("the log of every agent has arrived", || {
        sessions.iter().filter(|session| all().contains(session.as_str())).count() >= sites.len()
    });
    assert!(all().contains("execute_tool shell"), "{}", all());
}

/// What `doctor` finds in a context, and the code with which the pod's own script ends.
fn found(manifest: &Manifest, context: &Value) -> (Value, Site, Ended) {
    let (site, sink) = (Site::new("mark"), Sink::new());
    let context = context.clone();
    if context["hostUsers"] == true {
        // The user of the pod is one of the host's there, to whom nothing of the test's belongs.
        fs::remove_file(site.world.path("bin/portcullis")).unwrap();
        fs::copy(super::support::binary(), site.world.path("bin/portcullis")).unwrap();
        let user = u32::try_from(context["runAsUser"].as_u64().unwrap()).unwrap();
        give(&site.world.path(""), user);
    }
    let doctor = finish(&mut manifest.command(&site, &context, 0, &sink.url, &["portcullis", "doctor", "--json"]));
    let report: Value = serde_json::from_str(&doctor.stdout).unwrap_or_else(|error| panic!("{error}: {doctor:#?}"));
    let ended = manifest.run(&site, &context, 0, &sink.url);
    (report, site, ended)
}

fn give(folder: &Path, user: u32) {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            give(&entry.path(), user);
        }
        std::os::unix::fs::lchown(entry.path(), Some(user), Some(user)).unwrap();
    }
    std::os::unix::fs::chown(folder, Some(user), Some(user)).unwrap();
}

/// The layers that a report has, as the manifest's comment counts them.
fn layers(report: &Value) -> Vec<&'static str> {
    let namespaces = report["namespaces"].as_array().unwrap();
    let has = [
        ("Landlock", report["landlock"]["abi"].is_u64()),
        ("seccomp", report["seccomp"]["works"] == true),
        ("namespaces", namespaces.iter().all(|namespace| namespace["works"] == true)),
        ("mounts", report["mounts"]["works"] == true),
        ("/proc", report["proc"]["works"] == true),
    ];
    has.into_iter().filter_map(|(name, has)| has.then_some(name)).collect()
}

#[test]
fn without_what_a_layer_needs_nothing_runs_and_the_other_layers_remain() {
    let manifest = Manifest::read();
    let cases = [
        ("procMount", json!("Default"), &["Landlock", "seccomp", "namespaces", "mounts"][..]),
        ("seccompProfile", json!("RuntimeDefault"), &["Landlock", "seccomp"]),
        ("runAsUser", json!(0), &["Landlock", "seccomp", "namespaces"]),
    ];
    for (field, value, remain) in cases {
        let mut context = manifest.context();
        assert_ne!(context[field], value);
        context[field] = value;
        let (report, site, ended) = found(&manifest, &context);
        assert_eq!(report["verdict"]["enforced"], "refused", "{field}: {report:#}");
        assert_eq!(layers(&report), remain, "{field}: {report:#}");
        // The code that `podFailurePolicy` ends the whole Job by.
        assert_eq!(ended.code(), Some(4), "{field}: {ended:#?}");
        site.did_nothing();
        let refused = finish(&mut manifest.command(&site, &context, 0, "", &["portcullis", "exec", "--policy", "ci", "Do it."]));
        assert_eq!(refused.code(), Some(4), "{field}: {refused:#?}");
        site.did_nothing();
    }
    let rules = &manifest.job["spec"]["podFailurePolicy"]["rules"];
    assert_eq!(rules[0]["action"], "FailJob");
    assert!(rules[0]["onExitCodes"]["values"].as_array().unwrap().contains(&json!(4)));
}

#[test]
fn what_no_layer_needs_can_be_otherwise_and_everything_is_enforced() {
    let manifest = Manifest::read();
    let mut cases = vec![
        ("allowPrivilegeEscalation", json!(true)),
        ("dropAll", json!(false)),
        ("readOnlyRootFilesystem", json!(false)),
        ("seccompProfile", json!("Localhost")),
    ];
    if is_root() {
        cases.push(("hostUsers", json!(true)));
    } else {
        skip("what_no_layer_needs_can_be_otherwise_and_everything_is_enforced", "uid: only root can start a pod in the host's users");
    }
    for (field, value) in cases {
        let mut context = manifest.context();
        assert_ne!(context[field], value);
        context[field] = value;
        let (report, site, ended) = found(&manifest, &context);
        assert_eq!(report["verdict"]["enforced"], "full", "{field}: {report:#}");
        assert_eq!(layers(&report).len(), 5, "{field}: {report:#}");
        assert_eq!(ended.code(), Some(0), "{field}: {ended:#?}");
        site.worked(manifest.tasks["task-0"].as_str().unwrap(), "mark");
    }
}
