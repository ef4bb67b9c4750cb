use super::*;
use crate::csi::volume::class::{Backend, Filesystem};

const GIB: u64 = 1 << 30;
const DISK: Disk = Disk { available: 100 * GIB, in_images: 0 };

fn volume(name: &str, size: u64) -> Volume {
    let class =
        Class { backend: Backend::Image, filesystem: Filesystem::Xfs, overcommit: Overcommit::HONEST, max_size: None };
    Volume { id: VolumeId::from_name(name), name: name.to_owned(), size, class }
}

fn add(store: &Store, folder: &Path, name: &str, size: u64) {
    let reservation = store.reserve(size, DISK, Overcommit::HONEST).unwrap();
    fs::write(folder.join(format!("{name}.{IMAGE}")), b"data").unwrap();
    store.put(volume(name, size), reservation).unwrap();
}

fn reason(store: &Store, name: &str) -> String {
    match store.get(&VolumeId::from_name(name)) {
        Some(Entry::Quarantined { reason, .. }) => reason,
        other => panic!("{name}: {other:?}"),
    }
}

#[test]
fn volumes_are_there_again_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _lock) = Store::open(folder.path()).unwrap();
    add(&store, folder.path(), "a", 10);
    drop((store, _lock));
    let (store, _lock) = Store::open(folder.path()).unwrap();
    assert_eq!(store.get(&VolumeId::from_name("a")), Some(Entry::Sound(volume("a", 10))));
    for _ in 0..2 {
        store.doom(&VolumeId::from_name("a")).unwrap();
        store.forget(&VolumeId::from_name("a")).unwrap();
    }
    assert_eq!(store.get(&VolumeId::from_name("a")), None);
}

#[test]
fn a_torn_record_takes_only_its_own_volume_out_of_service() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _lock) = Store::open(folder.path()).unwrap();
    add(&store, folder.path(), "good", 10);
    add(&store, folder.path(), "torn", 20);
    drop((store, _lock));
    fs::write(folder.path().join("torn.json"), b"{\"id\": \"to").unwrap();
    let (store, _lock) = Store::open(folder.path()).unwrap();
    assert!(matches!(store.get(&VolumeId::from_name("good")), Some(Entry::Sound(_))));
    assert!(reason(&store, "torn").contains("torn.json is damaged"));
    assert_eq!(fs::read(folder.path().join("torn.img")).unwrap(), b"data", "nothing of it is lost");
}

#[test]
fn records_and_images_that_do_not_belong_together_are_quarantined() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _lock) = Store::open(folder.path()).unwrap();
    for name in ["no-image", "no-record", "swapped"] {
        add(&store, folder.path(), name, 10);
    }
    drop((store, _lock));
    fs::remove_file(folder.path().join("no-image.img")).unwrap();
    fs::remove_file(folder.path().join("no-record.json")).unwrap();
    fs::copy(folder.path().join("no-image.json"), folder.path().join("swapped.json")).unwrap();
    let (store, _lock) = Store::open(folder.path()).unwrap();
    assert!(reason(&store, "no-image").contains("no-image.img is missing"));
    assert!(reason(&store, "no-record").contains("no-record.json cannot be read"));
    assert!(reason(&store, "swapped").contains("is the record of no-image"));
}

#[test]
fn a_creation_interrupted_after_its_record_is_finished_and_one_before_is_undone() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _lock) = Store::open(folder.path()).unwrap();
    add(&store, folder.path(), "after", 10);
    drop((store, _lock));
    let file = |name: &str| folder.path().join(name);
    fs::rename(file("after.img"), file("after.img.new")).unwrap();
    fs::write(file("before.img.new"), b"half").unwrap();
    fs::write(file("before.json.tmp"), b"{").unwrap();
    let (store, _lock) = Store::open(folder.path()).unwrap();
    assert!(matches!(store.get(&VolumeId::from_name("after")), Some(Entry::Sound(_))));
    assert_eq!(store.get(&VolumeId::from_name("before")), None);
    assert!(!file("before.img.new").exists() && !file("before.json.tmp").exists());
}

#[test]
fn a_deletion_that_was_decided_is_finished() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _lock) = Store::open(folder.path()).unwrap();
    for name in ["image-there", "image-gone"] {
        add(&store, folder.path(), name, 10);
        store.doom(&VolumeId::from_name(name)).unwrap();
        assert_eq!(reason(&store, name), "it is being deleted");
    }
    fs::remove_file(folder.path().join("image-gone.img")).unwrap();
    drop((store, _lock));
    let (store, _lock) = Store::open(folder.path()).unwrap();
    assert!(store.list(None).is_empty());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "only the lock is left");
}

#[test]
fn a_volumes_data_is_never_replaced_by_a_new_image() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _lock) = Store::open(folder.path()).unwrap();
    add(&store, folder.path(), "a", 10);
    drop((store, _lock));
    fs::write(folder.path().join("a.img.new"), b"empty").unwrap();
    drop(Store::open(folder.path()).unwrap());
    assert_eq!(fs::read(folder.path().join("a.img")).unwrap(), b"data");
    assert!(!folder.path().join("a.img.new").exists());
}

#[test]
fn no_more_is_promised_than_there_is_even_to_parallel_callers() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _lock) = Store::open(folder.path()).unwrap();
    let first = store.reserve(60 * GIB, DISK, Overcommit::HONEST).unwrap();
    assert_eq!(store.reserve(41 * GIB, DISK, Overcommit::HONEST).unwrap_err(), 40 * GIB);
    store.put(volume("a", 60 * GIB), first).unwrap();
    assert_eq!(store.room(DISK, Overcommit::HONEST), 40 * GIB, "counted once");
    drop(store.reserve(40 * GIB, DISK, Overcommit::HONEST).unwrap());
    assert_eq!(store.room(DISK, Overcommit::HONEST), 40 * GIB, "a call that fails gives back what it had set aside");
}

#[test]
fn two_drivers_cannot_share_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let (_first, lock) = Store::open(folder.path()).unwrap();
    let second = || Store::open_within(folder.path(), Duration::ZERO).map(|_| ());
    assert!(matches!(second(), Err(OpenError::InUse(_))));
    drop(lock);
    second().unwrap();
}

#[test]
fn a_driver_waits_for_the_programs_of_the_one_before() {
    let folder = tempfile::tempdir().unwrap();
    let (_killed, lock) = Store::open(folder.path()).unwrap();
    let mut program = std::process::Command::new("sleep").arg("0.2").stdin(lock).spawn().unwrap();
    assert!(Store::open_within(folder.path(), Duration::ZERO).is_err());
    Store::open(folder.path()).unwrap();
    assert!(program.try_wait().unwrap().is_some());
}
