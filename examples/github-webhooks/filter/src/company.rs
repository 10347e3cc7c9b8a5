//! The company that a webhook belongs to: the account that owns the repository, else the organization, else the sender.

use std::fmt::Write as _;

use tidegate_guest::{Error, Result};

use crate::{Account, Payload};

/// The longest name that the host takes.
const COMPANY_BYTES_MAX: usize = 128;

/// The company of a payload.
///
/// # Errors
/// Nobody is named, or the login can't be made a company's name.
pub(crate) fn of(payload: &Payload) -> Result<String> {
    let login = |account: Option<&Account>| account.and_then(|account| account.login.clone());
    let owner = payload.repository.as_ref().and_then(|repository| repository.owner.as_ref());
    login(owner)
        .or_else(|| login(payload.organization.as_ref()))
        .or_else(|| login(payload.sender.as_ref()))
        .ok_or_else(|| {
            Error::new("no company: the payload has no repository.owner.login, organization.login or sender.login")
        })
        .and_then(|login| name(&login))
}

/// A login as a company's name. Two logins never become the same name: one would read the other's events.
///
/// Apps end in `[bot]`, which becomes `.bot`; any other byte that names can't have becomes `.` and two hex digits. Since
/// a dot in the login is written so too, and `bo` isn't hex, the login can be read back.
fn name(login: &str) -> Result<String> {
    let (plain, bot) = login.strip_suffix("[bot]").map_or((login, ""), |plain| (plain, ".bot"));
    let mut name = String::with_capacity(login.len());
    for byte in plain.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_' {
            name.push(char::from(byte));
        } else {
            // Writing to memory can't fail.
            let _ = write!(name, ".{byte:02x}");
        }
    }
    name.push_str(bot);
    if name.is_empty() {
        return Err(Error::new("no company: the login is empty"));
    }
    if name.starts_with(['_', '.']) {
        return Err(Error::new(format_args!("no company: the login {login:?} doesn't start with a letter or a digit")));
    }
    if name.len() > COMPANY_BYTES_MAX {
        return Err(Error::new(format_args!(
            "no company: the login becomes a name of {} bytes; at most {COMPANY_BYTES_MAX} are accepted",
            name.len()
        )));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_that_are_names_stay_as_they_are() {
        for login in ["Codertocat", "octo-org", "octo_acme", "7"] {
            assert_eq!(name(login).unwrap(), login);
        }
    }

    #[test]
    fn other_logins_become_names_that_no_other_login_has() {
        let names = [
            ("renovate[bot]", "renovate.bot"),
            ("renovate.bot", "renovate.2ebot"),
            ("renovate-bot", "renovate-bot"),
            ("renovate[bot][bot]", "renovate.5bbot.5d.bot"),
            ("a b", "a.20b"),
            ("a.20b", "a.2e20b"),
            ("a,b", "a.2cb"),
            ("a\u{e9}", "a.c3.a9"),
        ];
        for (login, expected) in names {
            assert_eq!(name(login).unwrap(), expected);
        }
    }

    #[test]
    fn a_login_that_can_not_be_a_name_is_an_error() {
        for (login, part) in [
            ("", "is empty"),
            ("_platform", "doesn't start with"),
            ("../etc", "doesn't start with"),
            ("[bot]", "doesn't start with"),
            (&*"x".repeat(129), "129 bytes"),
        ] {
            let text = name(login).unwrap_err().to_string();
            assert!(text.starts_with("no company: ") && text.contains(part), "{login}: {text}");
        }
        assert_eq!(name(&"x".repeat(128)).unwrap().len(), 128);
    }

    #[test]
    fn the_owner_counts_before_the_organization_before_the_sender() {
        let company = |payload: &str| of(&serde_json::from_str(payload).unwrap());
        let owner = r#""repository":{"owner":{"login":"owner"}}"#;
        let organization = r#""organization":{"login":"organization"}"#;
        let sender = r#""sender":{"login":"sender"}"#;
        assert_eq!(company(&format!("{{{sender},{organization},{owner}}}")).unwrap(), "owner");
        assert_eq!(company(&format!("{{{sender},{organization}}}")).unwrap(), "organization");
        assert_eq!(company(&format!("{{{sender},\"repository\":{{\"owner\":null}}}}")).unwrap(), "sender");
        for none in ["{}", r#"{"sender":null}"#, r#"{"sender":{}}"#, r#"{"repository":{"full_name":"a/b"}}"#] {
            assert!(company(none).unwrap_err().to_string().starts_with("no company: the payload has no"), "{none}");
        }
    }

    #[test]
    fn an_empty_login_never_passes_the_event_to_someone_else() {
        let payload = r#"{"repository":{"owner":{"login":""}},"sender":{"login":"eve"}}"#;
        assert!(of(&serde_json::from_str(payload).unwrap()).is_err());
    }
}
