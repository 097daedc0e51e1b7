//! A file that is only read: a backup, perhaps on a medium that takes no writes. To be opened dry.

use std::{fs::File, io, os::unix::fs::FileExt as _};

use redb::StorageBackend;

#[derive(Debug)]
pub(super) struct ReadOnlyFile(pub(super) File);

impl StorageBackend for ReadOnlyFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(out, offset)
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, _: u64, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_refuses_to_be_changed_also_where_the_file_could_be() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(4).unwrap();
        let file = ReadOnlyFile(file);
        assert!(file.set_len(8).is_err() && file.write(0, b"x").is_err());
        let mut bytes = [1; 4];
        file.read(0, &mut bytes).unwrap();
        assert_eq!((bytes, file.len().unwrap()), ([0; 4], 4));
    }
}
