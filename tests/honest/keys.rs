//! Keys that a job makes for itself, hashes and random bytes.

use crate::{
    job::{job, lacks},
    support::Host,
};

#[test]
fn keys_and_certificates_are_made_and_used() {
    let host = Host::without_git();
    if lacks("honest::keys::keys_and_certificates_are_made_and_used", &["openssl", "ssh-keygen"]) {
        return;
    }
    let script = "openssl rand -hex 8; openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out certificate.pem -days 1 -subj /CN=localhost 2> /dev/null; \
                  openssl x509 -in certificate.pem -noout -subject; echo x | openssl dgst -sha256 -sign key.pem -out signature; \
                  ssh-keygen -q -t ed25519 -N '' -f /tmp/made; eval $(ssh-agent) > /dev/null; ssh-add -q /tmp/made; ssh-add -l | wc -l; kill $SSH_AGENT_PID; \
                  echo x > file; ssh-keygen -q -Y sign -f /tmp/made -n file file; cp /tmp/made.pub .";
    assert!(job(&host, script).contains("CN = localhost"));
    assert!(host.read("key.pem").unwrap().contains("PRIVATE KEY"));
    assert!(host.read("made.pub").unwrap().starts_with("ssh-ed25519 "));
    assert!(host.read("file.sig").unwrap().contains("SSH SIGNATURE"));
}

#[test]
fn a_commit_is_signed_with_a_key_of_the_jobs_own() {
    let host = Host::new();
    if lacks("honest::keys::a_commit_is_signed_with_a_key_of_the_jobs_own", &["gpg", "ssh-keygen"]) {
        return;
    }
    let script = "export GNUPGHOME=/tmp/keys; mkdir -m 700 $GNUPGHOME; gpg --batch -q --passphrase '' --quick-gen-key test@example.invalid; \
                  git -c user.signingkey=test@example.invalid commit -q -S --allow-empty -m signed; git verify-commit HEAD; gpg --armor --export > key.asc; \
                  ssh-keygen -q -t ed25519 -N '' -f /tmp/ssh; git -c gpg.format=ssh -c user.signingkey=/tmp/ssh.pub commit -q -S --allow-empty -m 'signed by ssh'; \
                  gpgconf --kill all";
    job(&host, script);
    assert!(host.read("key.asc").unwrap().contains("PUBLIC KEY"));
    for (revision, kind) in [("HEAD~1", "BEGIN PGP SIGNATURE"), ("HEAD", "BEGIN SSH SIGNATURE")] {
        assert!(host.git(&["cat-file", "commit", revision]).stdout.contains(kind));
    }
}
