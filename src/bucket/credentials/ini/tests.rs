use super::*;

fn keys(text: &str, profile: &str) -> Result<String, String> {
    let profile = read(text, profile).map_err(|error| error.to_string())?;
    let AwsCredential {
        key_id,
        secret_key,
        token,
    } = &profile.keys;
    let token = token.as_deref().unwrap_or("-");
    let region = profile.region.as_deref().unwrap_or("-");
    Ok(format!("{key_id} {secret_key} {token} {region}"))
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
    let secret = "top-secret";
    for (line, said) in [
        (
            "role_arn = a\naws_access_key_id = b",
            "`role_arn` in line 2",
        ),
        ("credential_process = top-secret", "credential_process"),
        (
            "web_identity_token_file = top-secret",
            "web_identity_token_file",
        ),
        ("credential_source = Environment", "credential_source"),
        ("sso_start_url = https://top-secret", "sso_start_url"),
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
            "aws_access_key_id = A\naws_secret_access_key = top-secret\naws_session_token = a b",
            "aws_session_token",
        ),
    ] {
        let error = keys(&format!("[default]\n{line}\n"), "default").unwrap_err();
        assert!(
            error.contains(said) && !error.contains(secret),
            "{line}: {error}"
        );
    }
    let error = keys("top-secret", "default").unwrap_err();
    assert!(
        error.contains("no profile `default`") && !error.contains(secret),
        "{error}"
    );
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
