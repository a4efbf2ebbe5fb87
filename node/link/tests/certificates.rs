//! Certificate files: made once, never overwritten, and their faults named.

use cluster_config::actor::Role;
use node_link::Identity;
use node_link::certificates::{Authority, Error, Validity};

#[test]
fn an_authority_loads_again_and_issues_what_loads_as_an_identity() {
    let folder = tempfile::tempdir().expect("a folder");
    Authority::create(&folder.path().join("new")).expect("made, with its folder");
    let authority = Authority::load(&folder.path().join("new")).expect("loaded");
    let issued = authority.issue(Role::Operator, "ada.l", Validity::Days(30)).expect("issued");
    let identity = Identity::load(&authority.certificate(), &issued.certificate, &issued.key).expect("an identity");
    assert_eq!(identity.caller().to_string(), "tvs://operator/ada.l");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        for key in [&issued.key, &folder.path().join("new/ca.key")] {
            assert_eq!(std::fs::metadata(key).expect("a key").permissions().mode() & 0o777, 0o600);
        }
    }
}

#[test]
fn nothing_is_overwritten() {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::create(folder.path()).expect("made");
    let before = std::fs::read(folder.path().join("ca.key")).expect("a key");
    assert!(matches!(Authority::create(folder.path()), Err(Error::Exists(_))));
    assert_eq!(std::fs::read(folder.path().join("ca.key")).expect("a key"), before);
    authority.issue(Role::Gate, "gate-1", Validity::Days(1)).expect("issued");
    let error = authority.issue(Role::Gate, "gate-1", Validity::Days(1)).expect_err("exists");
    assert!(error.to_string().contains("gate-1.pem"), "{error}");
}

#[test]
fn faults_are_named_with_their_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let error = Authority::load(folder.path()).expect_err("nothing there");
    assert!(error.to_string().contains("ca.key") && error.to_string().contains("tvs certs init"), "{error}");
    let authority = Authority::create(folder.path()).expect("made");
    assert!(matches!(authority.issue(Role::Gate, "a/b", Validity::Days(1)), Err(Error::Name(_))));
    assert!(matches!(authority.issue(Role::Gate, "zero", Validity::Days(0)), Err(Error::Validity(_))));
    assert!(matches!(authority.issue(Role::Gate, "ever", Validity::Days(u32::MAX)), Err(Error::Validity(_))));
    let one = authority.issue(Role::Gate, "one", Validity::Days(1)).expect("issued");
    let two = authority.issue(Role::Gate, "two", Validity::Days(1)).expect("issued");
    let error = Identity::load(&authority.certificate(), &one.certificate, &two.key).expect_err("not a pair");
    assert!(error.to_string().contains("two.key"), "{error}");
    let error = Identity::load(&authority.certificate(), &one.key, &one.key).expect_err("no certificate");
    assert!(error.to_string().contains("one.key"), "{error}");
    // The authority's own certificate names no role.
    let error = Identity::load(&authority.certificate(), &authority.certificate(), &one.key).expect_err("no role");
    assert!(error.to_string().contains("ca.pem"), "{error}");
}
