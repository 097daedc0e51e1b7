//! What a subject and a power say of themselves; who may do what is enumerated in `http/routes/matrix.rs`.

use super::*;

#[test]
fn a_subject_has_its_own_id_and_only_a_user_an_email() {
    let (user, host, client) = (User::supposed("a@b.c"), Host::supposed("web1"), Client::supposed("acme"));
    let ids = [user.id.to_string(), host.id.to_string(), client.id.to_string()];
    let subjects = [
        (Subject::User(Arc::new(user)), Some("a@b.c")),
        (Subject::Host(Arc::new(host)), None),
        (Subject::Client(Arc::new(client)), None),
    ];
    for ((subject, email), id) in subjects.into_iter().zip(ids) {
        let mut pushed = String::new();
        subject.push_id_onto(&mut pushed);
        assert_eq!(pushed, id);
        assert_eq!((subject.id(), subject.email()), (id, email));
    }
}

#[test]
fn a_reserved_word_takes_in_those_below_it_and_no_word_of_the_product() {
    for (scope, word, takes_in) in [
        ("admin", "operator", true),
        ("admin", "introspect", true),
        ("x operator", "introspect", true),
        ("operator", "admin", false),
        ("admin", "reports:read", false),
        ("reports:read", "reports:read", true),
        ("reports:write", "reports:read", false),
        ("introspect", "introspect", true),
    ] {
        assert_eq!(scope_takes_in(scope, word), takes_in, "{scope}: {word}");
    }
}

#[test]
fn a_subject_is_told_by_its_type_and_its_id_and_by_nothing_of_its_row() {
    let user = User { password: Some("a hash".into()), ..User::supposed("a@b.c") };
    let id = user.id.to_string();
    let user = Subject::User(Arc::new(user));
    let shown = format!("{user:?}");
    assert!(shown.contains(&id) && !shown.contains("hash") && !shown.contains("a@b.c"), "{shown}");
    let host = Subject::Host(Arc::new(Host::supposed("web1")));
    let client = Subject::Client(Arc::new(Client::supposed("acme")));
    assert_eq!([user, host, client].map(|subject| subject.type_name()), ["user", "host", "client"]);
}
