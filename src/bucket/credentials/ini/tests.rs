use super::*;
use crate::bucket::credentials::source::Role;

fn keys(text: &str, profile: &str) -> Result<String, String> {
    let profile = read(text, profile).map_err(|error| error.to_string())?;
    let Source::Keys(AwsCredential {
        key_id,
        secret_key,
        token,
    }) = &profile.source
    else {
        return Err(shown(&profile.source));
    };
    let token = token.as_deref().unwrap_or("-");
    let region = profile.region.as_deref().unwrap_or("-");
    Ok(format!("{key_id} {secret_key} {token} {region}"))
}

fn shown(source: &Source) -> String {
    let name = |role: &Role| {
        role.arn
            .trim_start_matches("arn:aws:iam::1:role/")
            .to_owned()
    };
    match source {
        Source::Keys(keys) => keys.key_id.clone(),
        Source::Own => "own".to_owned(),
        Source::Role { role, source } => format!("{} by {}", name(role), shown(source)),
        Source::WebIdentity { role, token } => format!("{} by {}", name(role), token.path),
    }
}

/// Reads where the keys of the profile `default` come from. `R/` stands for the beginning of a role's name,
/// and `KEYS` for two keys.
fn source(text: &str) -> String {
    let text = text.replace("R/", "arn:aws:iam::1:role/").replace(
        "KEYS",
        "aws_access_key_id = K\naws_secret_access_key = top-secret",
    );
    let found = read(&text, "default").map(|profile| shown(&profile.source));
    let found = found.unwrap_or_else(|error| error.to_string());
    assert!(!found.contains("top-secret"), "{found}");
    found
}

#[test]
fn the_usual_file_is_read() {
    let text = "[default]\naws_access_key_id=A\naws_secret_access_key=S/+=\n";
    assert_eq!(keys(text, "default").unwrap(), "A S/+= - -");
    let windows = text.replace('\n', "\r\n");
    assert_eq!(keys(&windows, "default").unwrap(), "A S/+= - -");
}

#[test]
fn lines_are_read_as_the_sdk_reads_them() {
    let text = "ignored = before any section\n\
        # comment\n  ; comment\n\
        [ default ] # comment\n\
        AWS_Access_Key_Id : A#1 ; comment\n\
        aws_secret_access_key = \"S = 1\"\t# comment\n\
        \x20 region = r1 # comment\n\
        [profile\t two]\n\
        aws_access_key_id = B\n\
        s3 =\n\
        \x20 aws_access_key_id = nested\n\
        no property\n\
        aws_secret_access_key = 'T'\n\
        [two]\n\
        aws_session_token = U\n\
        [two]\n\
        region = r2\n";
    assert_eq!(keys(text, "default").unwrap(), "A#1 S = 1 - r1");
    assert_eq!(keys(text, "two").unwrap(), "B T U r2");
}

#[test]
fn what_has_no_keys_is_told_by_its_name_and_quotes_nothing() {
    for (lines, said) in [
        ("", "no aws_access_key_id"),
        ("aws_access_key_id = A", "aws_secret_access_key"),
        (
            "aws_access_key_id =\naws_secret_access_key = top-secret",
            "aws_secret_access_key",
        ),
        (
            "aws_access_key_id = ü\naws_secret_access_key = top-secret",
            "aws_access_key_id",
        ),
        (
            "KEYS\naws_session_token = top-secret x",
            "aws_session_token",
        ),
        (
            "credential_process = top-secret",
            "`credential_process` in line 2",
        ),
        (
            "sso_start_url = https://top-secret",
            "`sso_start_url` in line 2",
        ),
    ] {
        let error = source(&format!("[default]\n{lines}\n"));
        assert!(error.contains(said), "{lines}: {error}");
    }
    let error = source("top-secret");
    assert!(error.contains("no profile `default`"), "{error}");
}

#[test]
fn roles_are_assumed_in_the_order_of_the_sdk() {
    let below = |lines: &str| source(&format!("[default]\nrole_arn = R/r\n{lines}\n"));
    // The keys of a profile that names another one do not count, nor does the role of the other one.
    let linked = "source_profile = p\naws_access_key_id = no\naws_secret_access_key = no\n\
        [profile p]\nrole_arn = R/q\nKEYS";
    assert_eq!(below(linked), "r by K");
    assert_eq!(below("source_profile = default\nKEYS"), "r by K");
    assert_eq!(below("KEYS"), "r by K");
    let chain = "source_profile = p\n[p]\nrole_arn = R/q\nsource_profile = k\n[k]\nKEYS";
    assert_eq!(below(chain), "r by q by K");
    for own in ["", "EcsContainer", "Ec2InstanceMetadata", "Environment"] {
        assert_eq!(below(&format!("credential_source = {own}")), "r by own");
    }
    assert_eq!(below("web_identity_token_file = /token"), "r by /token");
    let above = "source_profile = p\n[p]\nrole_arn = R/q\nweb_identity_token_file = /token";
    assert_eq!(below(above), "r by q by /token");
}

#[test]
fn a_role_that_cannot_be_assumed_is_told_by_line_and_name() {
    let loop_of_two = "source_profile = p\n[p]\nrole_arn = R/q\nsource_profile = default";
    let links = (1..6).map(|one| {
        let next = one + 1;
        format!("[{one}]\nrole_arn = R/r\nsource_profile = {next}\n")
    });
    let six = format!("source_profile = 1\n{}", links.collect::<String>());
    for (lines, said) in [
        ("mfa_serial = top-secret", "`mfa_serial` in line 3"),
        (
            "source_profile = top-secret",
            "`source_profile` in line 3 of the credentials names a profile that",
        ),
        (
            "source_profile = default",
            "`source_profile` in line 3 of the credentials leads back",
        ),
        (
            loop_of_two,
            "`source_profile` in line 6 of the credentials leads back",
        ),
        (&six, "is the sixth role in a row"),
        (
            "source_profile = p\n[p]\nregion = top-secret",
            "line 3 of the credentials names a profile without",
        ),
        (
            "source_profile = p\n[p]\nsso_session = top-secret",
            "`sso_session` in line 5",
        ),
        (
            "source_profile = p\ncredential_source = top-secret",
            "`source_profile` in line 3 and `credential_source` in line 4",
        ),
        (
            "credential_source = top-secret",
            "`credential_source` in line 3 of the credentials must be",
        ),
        ("external_id = top-secret()", "`external_id` in line 3"),
        ("external_id = x", "`external_id` in line 3"),
        (
            "role_session_name = top-secret/",
            "`role_session_name` in line 3",
        ),
        ("duration_seconds = 60", "`duration_seconds` in line 3"),
        ("duration_seconds = 43201", "`duration_seconds` in line 3"),
        ("duration_seconds = -1", "`duration_seconds` in line 3"),
    ] {
        let error = source(&format!("[default]\nrole_arn = R/r\n{lines}\n"));
        assert!(error.contains(said), "{lines}: {error}");
    }
    for arn in [
        "top-secret",
        "arn:aws:iam::1:user/top-secret",
        "arn:aws:s3:::role/top-secret",
        "arn:aws:iam::1:role/top-secret?x=y",
        "https://top-secret/role/rrrrrrrrrrrrrrrr",
        "arn:aws:iam::1:role/",
    ] {
        let error = source(&format!("[default]\nrole_arn = {arn}\nKEYS\n"));
        assert!(
            error.contains("`role_arn` in line 2 of the credentials is not"),
            "{arn}: {error}"
        );
    }
    for lines in [
        "source_profile = top-secret",
        "credential_source = Environment",
        "web_identity_token_file = top-secret",
    ] {
        let error = source(&format!("[default]\n{lines}\n"));
        assert!(
            error.contains("in line 2 of the credentials needs a role_arn"),
            "{error}"
        );
    }
}

#[test]
fn what_a_role_is_asked_for_with_is_read() {
    let role = |lines: &str| {
        let text = format!("[default]\nrole_arn = arn:aws-cn:iam::1:role/a/r\n{lines}\n");
        match read(&text, "default").unwrap().source {
            Source::Role { role, .. } => role,
            other => panic!("{}", shown(&other)),
        }
    };
    let found = role("external_id = e:x\nrole_session_name = s@x\nduration_seconds = 3600");
    let text = |text: &str| Some(text.to_owned());
    let expected = Role {
        arn: "arn:aws-cn:iam::1:role/a/r".to_owned(),
        session_name: text("s@x"),
        external_id: text("e:x"),
        duration: Some(3600),
        endpoint: None,
    };
    assert_eq!(found, expected);
    // As the SDK does.
    assert_eq!(role("duration_seconds = 0").duration, None);
    assert_eq!(role("duration_seconds = long").duration, None);
    let (line, name) = (3, "endpoint_url");
    let endpoint = role("endpoint_url = https://sts.example").endpoint;
    assert_eq!(endpoint, Some(Setting { line, name }));
}

#[test]
fn a_profile_that_says_where_the_store_is_is_told() {
    let keys = "[default]\naws_access_key_id = k\naws_secret_access_key = s\n";
    let endpoint = |more: &str| {
        let read = read(&format!("{keys}{more}"), "default");
        read.unwrap().endpoint
    };
    assert_eq!(endpoint("region = r\n"), None);
    let fourth = |name| Some(Setting { line: 4, name });
    assert_eq!(
        endpoint("endpoint_url = https://evil\n"),
        fourth("endpoint_url")
    );
    assert_eq!(
        endpoint("services = s\n[services s]\ns3 =\n  endpoint_url = https://evil\n"),
        fourth("services")
    );
}
