//! What is wrong with a configuration, and where: file, line and key.

use std::fmt;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The line it is on, counted from 1.
    pub line: usize,
    /// The setting, such as `server.listen`; empty where none is to be found, since the text is no TOML.
    pub key: String,
    /// What is wrong with it, fit to follow the key.
    pub what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.what)
    }
}

/// All that is wrong with one configuration file; never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigFaults {
    /// The file, as it was named.
    pub file: String,
    /// What is wrong, from the top of the file to its end.
    pub faults: Vec<Fault>,
}

impl fmt::Display for ConfigFaults {
    /// One line for each: `FILE:LINE: KEY: what`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.faults.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{}:{}: {fault}", self.file, fault.line)?;
        }
        Ok(())
    }
}
