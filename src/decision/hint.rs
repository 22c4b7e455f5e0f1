//! Which hint `lint` gives for a rule.

/// What helps with the findings of a rule, beyond the short fix that every finding has: a manifest
/// to write or a command to run. `lint --fix-hint` renders it with the names filled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hint {
    /// Nothing: the short fix says it all.
    None,
    /// The command that prints the schema of the object.
    ExplainSchema,
    /// A manifest of the CA Secret.
    CreateSecret,
    /// A manifest of the CA Secret; where something else creates the Secret, the option that turns
    /// the denial into a warning.
    CreateSecretOrWarn,
    /// How the object names the CA Secret.
    NameSecret,
    /// Remove the setting that turns verification off, and name the CA Secret.
    VerifyAndNameSecret,
    /// Move the CA into a Secret, and name that Secret.
    MoveToSecret,
    /// The command that creates the Secret with the credentials.
    CreateCredential,
    /// The command that copies the certificates out of a file, and nothing else.
    ExtractCertificates,
    /// Replace a private key that was exposed; the command that copies only the certificates.
    ReplacePrivateKey,
    /// The command that lists the certificates of a bundle.
    ListCertificates,
    /// The command that shows the certificates that the server presents.
    ShowServerCertificates,
    /// The URL with `https://`.
    UseHttps,
}
