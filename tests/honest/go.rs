//! Go: a module of the standard library alone, as there is no network.

use crate::{
    job::{job, lacks},
    support::Host,
};

#[test]
fn a_module_is_built_vetted_and_tested() {
    let host = Host::new();
    if lacks("honest::go::a_module_is_built_vetted_and_tested", &["go", "gcc"]) {
        return;
    }
    host.write("go.mod", "module example.invalid/app\n\ngo 1.19\n");
    host.write("main.go", "package main\n\nfunc seven() int { return 7 }\n\nfunc main() { println(seven()) }\n");
    host.write(
        "main_test.go",
        "package main\n\nimport \"testing\"\n\nfunc TestSeven(t *testing.T) {\n\tif seven() != 7 {\n\t\tt.Fatal()\n\t}\n}\n",
    );
    job(
        &host,
        "gofmt -l . ; go vet; go build -o app; ./app; go test; go list ./...; go env GOCACHE; git add go.mod main.go; git commit -qm go; go build -o app",
    );
    let mut outside = host.clean(host.workspace.join("app"));
    assert_eq!(outside.output().unwrap().stderr, b"7\n");
}
