use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::csi::host::state_directory::StateDirectory;
use crate::csi::host::tool::Tools;
use crate::csi::volume::capacity::DiskSpace;
use crate::csi::volume::class::{BackendKind, Filesystem, Overcommit, VolumeClass};
use crate::csi::volume::record::VolumeRecord;

const DISK: DiskSpace = DiskSpace { available: 100 << 30, in_volumes: 0 };

/// Opens a state directory as a start of the driver does.
fn open(directory: &Path) -> VolumeStore {
    let (state, lock) = StateDirectory::open(directory).unwrap();
    recover(RecordFiles::new(&state.volumes), &Backends::new(&state, Tools::holding(lock))).unwrap()
}

fn file(directory: &tempfile::TempDir, name: &str) -> PathBuf {
    directory.path().join("volumes").join(name)
}

fn volume(name: &str) -> VolumeRecord {
    let class = VolumeClass {
        backend: BackendKind::Image,
        filesystem: Filesystem::Xfs,
        overcommit: Overcommit::NONE,
        max_size: None,
    };
    VolumeRecord { id: VolumeId::from_name(name), name: name.to_owned(), size: 10, class }
}

fn add(store: &VolumeStore, directory: &tempfile::TempDir, name: &str) {
    let reservation = store.reserve(10, DISK, Overcommit::NONE).unwrap();
    fs::write(file(directory, &format!("{name}.img")), b"data").unwrap();
    store.put(volume(name), reservation).unwrap();
}

fn reason(store: &VolumeStore, name: &str) -> String {
    match store.get(&VolumeId::from_name(name)) {
        Some(VolumeEntry::Unavailable { reason, .. }) => reason,
        other => panic!("{name}: {other:?}"),
    }
}

#[test]
fn volumes_exist_after_a_restart_until_they_are_deleted() {
    let directory = tempfile::tempdir().unwrap();
    add(&open(directory.path()), &directory, "a");
    let store = open(directory.path());
    let id = VolumeId::from_name("a");
    assert_eq!(store.get(&id), Some(VolumeEntry::Available(volume("a"))));
    for _ in 0..2 {
        store.mark_for_deletion(&id).unwrap();
        store.remove_marked(&id).unwrap();
    }
    assert_eq!(store.get(&id), None);
}

#[test]
fn a_damaged_record_makes_only_its_own_volume_unavailable() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    add(&store, &directory, "good");
    add(&store, &directory, "damaged");
    fs::write(file(&directory, "damaged.json"), b"{\"id\": \"da").unwrap();
    let store = open(directory.path());
    assert!(matches!(store.get(&VolumeId::from_name("good")), Some(VolumeEntry::Available(_))));
    assert!(reason(&store, "damaged").contains("damaged.json is damaged"));
    assert_eq!(fs::read(file(&directory, "damaged.img")).unwrap(), b"data", "no data is lost");
}

#[test]
fn a_record_and_an_image_that_do_not_match_are_unavailable() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    for name in ["no-image", "no-record", "swapped"] {
        add(&store, &directory, name);
    }
    fs::remove_file(file(&directory, "no-image.img")).unwrap();
    fs::remove_file(file(&directory, "no-record.json")).unwrap();
    fs::copy(file(&directory, "no-image.json"), file(&directory, "swapped.json")).unwrap();
    let store = open(directory.path());
    assert!(reason(&store, "no-image").contains("no-image.img is missing"));
    assert!(reason(&store, "no-record").contains("no-record.json cannot be read"));
    assert!(reason(&store, "swapped").contains("is the record of another volume, no-image"));
}

#[test]
fn a_creation_interrupted_after_its_record_is_completed_and_one_before_it_is_rolled_back() {
    let directory = tempfile::tempdir().unwrap();
    add(&open(directory.path()), &directory, "after");
    fs::rename(file(&directory, "after.img"), file(&directory, "after.img.new")).unwrap();
    fs::write(file(&directory, "before.img.new"), b"half").unwrap();
    fs::write(file(&directory, "before.json.tmp"), b"{").unwrap();
    let store = open(directory.path());
    assert!(matches!(store.get(&VolumeId::from_name("after")), Some(VolumeEntry::Available(_))));
    assert_eq!(store.get(&VolumeId::from_name("before")), None);
    assert!(!file(&directory, "before.img.new").exists() && !file(&directory, "before.json.tmp").exists());
}

#[test]
fn the_deletion_of_a_marked_volume_is_completed() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    for name in ["with-image", "without-image"] {
        add(&store, &directory, name);
        store.mark_for_deletion(&VolumeId::from_name(name)).unwrap();
        assert_eq!(reason(&store, name), "it is being deleted");
    }
    fs::remove_file(file(&directory, "without-image.img")).unwrap();
    let store = open(directory.path());
    assert!(store.list(None).is_empty());
    assert_eq!(fs::read_dir(directory.path().join("volumes")).unwrap().count(), 1, "only the lock remains");
}

#[test]
fn the_data_of_a_volume_is_never_replaced_by_a_new_image() {
    let directory = tempfile::tempdir().unwrap();
    add(&open(directory.path()), &directory, "a");
    fs::write(file(&directory, "a.img.new"), b"empty").unwrap();
    open(directory.path());
    assert_eq!(fs::read(file(&directory, "a.img")).unwrap(), b"data");
    assert!(!file(&directory, "a.img.new").exists());
}
