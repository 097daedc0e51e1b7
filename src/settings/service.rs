//! A service as it is configured: where its secret is, and what its user may. The secret itself is never here.

/// `[services.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Where the secret is read from.
    pub source: SecretSource,
    /// The groups of the service's user.
    pub groups: Vec<String>,
}

/// Where a service's secrets are read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// A file with one secret a line.
    SecretFile(String),
    /// Lines of a `.env` file that other containers read too.
    EnvFile {
        /// The file.
        path: String,
        /// The variables that hold a secret; at least one.
        keys: Vec<String>,
    },
}

impl SecretSource {
    /// The file that is read.
    pub fn path(&self) -> &str {
        match self {
            Self::SecretFile(path) | Self::EnvFile { path, .. } => path,
        }
    }
}
