//! How much memory there is for this process: the least that its control groups and its own limits allow. A limit
//! that is run into is the end of the process, so whoever hands out memory by the piece has to know it before.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rustix::process::{Resource, getrlimit};

/// Where control groups are found.
const GROUPS: &str = "/sys/fs/cgroup";
/// Says which groups this process is in.
const MEMBERSHIPS: &str = "/proc/self/cgroup";

/// The least limit on the memory of this process, in bytes; none where there is none.
pub(super) fn limit() -> Option<u64> {
    let memberships = fs::read_to_string(MEMBERSHIPS).unwrap_or_default();
    let groups = of_groups(Path::new(GROUPS), &memberships);
    [groups, getrlimit(Resource::As).current, getrlimit(Resource::Data).current].into_iter().flatten().min()
}

/// The least limit of the groups that `memberships` names, and of those that they lie in.
fn of_groups(root: &Path, memberships: &str) -> Option<u64> {
    memberships.lines().filter_map(|line| of_hierarchy(root, line)).min()
}

/// Of one line, `NUMBER:CONTROLLERS:/PATH`; without controllers it is of the second version of control groups.
fn of_hierarchy(root: &Path, line: &str) -> Option<u64> {
    let (_, line) = line.split_once(':')?;
    let (controllers, path) = line.split_once(':')?;
    let (root, file) = match controllers {
        "" => (root.to_owned(), "memory.max"),
        _ if controllers.split(',').any(|name| name == "memory") => {
            (root.join("memory"), "memory.limit_in_bytes")
        }
        _ => return None,
    };
    let group = root.join(path.trim_start_matches('/'));
    let above = group.ancestors().take_while(|group| group.starts_with(&root));
    // A word that is no number, `max`, is no limit.
    above.filter_map(|group| read(group.join(file))).min()
}

fn read(file: PathBuf) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (file, text) in files {
            let file = root.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        root
    }

    #[test]
    fn the_least_limit_on_the_way_up_counts() {
        #[track_caller]
        fn check(files: &[(&str, &str)], memberships: &str, wanted: Option<u64>) {
            assert_eq!(of_groups(tree(files).path(), memberships), wanted, "{memberships}");
        }
        let second = [("memory.max", "max\n"), ("a/memory.max", "300\n"), ("a/b/memory.max", "max\n")];
        check(&second, "0::/a/b\n", Some(300));
        check(&second, "0::/\n", None);
        check(&[("a/memory.max", "300"), ("a/b/memory.max", "200")], "0::/a/b", Some(200));
        let first = [
            ("memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("memory/a/memory.limit_in_bytes", "67108864\n"),
            ("cpu/a/memory.limit_in_bytes", "1"),
        ];
        check(&first, "4:cpu,cpuacct:/a\n3:memory:/a\n0::/a\n", Some(67_108_864));
        check(&first, "3:hugetlb,memory:/\n", Some(9_223_372_036_854_771_712));
        check(&first, "3:memory:/../..\nnonsense\n", Some(9_223_372_036_854_771_712));
        check(&[], "0::/a", None);
    }
}
