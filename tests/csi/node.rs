//! The Node service: stage, publish, and measure volumes.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rso::csi::proto::v1::volume_capability::access_mode::Mode;
use rso::csi::proto::v1::volume_usage::Unit;
use tonic::Code;

use crate::calls::{CallFailed, capability, code};
use crate::harness::{Driver, GIB, MIB, filesystem_size, mounts_at};

#[tokio::test]
async fn publishing_three_times_mounts_once_and_unpublishing_twice_succeeds() {
    let driver = Driver::start().await;
    let (id, target) = driver.mounted("thrice", GIB, &[]).await;
    for _ in 0..2 {
        driver.stage(&id).await.unwrap();
        driver.publish(&id, false).await.unwrap();
    }
    assert_eq!(mounts_at(&target), 1);
    assert_eq!(mounts_at(&driver.staging(&id)), 1);
    for _ in 0..2 {
        driver.unpublish(&id).await.unwrap();
        assert!(!target.exists());
    }
    for _ in 0..2 {
        driver.unstage(&id).await.unwrap();
    }
    assert_eq!(mounts_at(&driver.staging(&id)), 0);
    driver.delete(&id).await.unwrap();
}

#[tokio::test]
async fn parallel_calls_for_one_volume_mount_once() {
    let driver = Driver::start().await;
    let id = driver.create(&driver.name("rush"), GIB, &[]).await.unwrap().volume_id;
    for staged in futures::future::join_all((0..8).map(|_| driver.stage(&id))).await {
        staged.unwrap();
    }
    for published in futures::future::join_all((0..8).map(|_| driver.publish(&id, false))).await {
        published.unwrap();
    }
    assert_eq!((mounts_at(&driver.staging(&id)), mounts_at(&driver.target(&id))), (1, 1));
    driver.remove(&id).await;
}

#[tokio::test]
async fn all_stacked_mounts_of_a_volume_are_unmounted() {
    let driver = Driver::start().await;
    let (id, target) = driver.mounted("stacked", GIB, &[]).await;
    rustix::mount::mount_bind(driver.staging(&id), &target).unwrap();
    assert_eq!(mounts_at(&target), 2);
    driver.remove(&id).await;
    assert_eq!(mounts_at(&target), 0);
}

#[tokio::test]
async fn statistics_are_those_of_the_volume_and_never_of_the_disk_of_the_node() {
    let driver = Driver::start().await;
    let (id, target) = driver.mounted("measured", GIB, &[]).await;
    let usage = driver.stats(&id, &target).await.unwrap();
    let [bytes, inodes] = usage.as_slice() else { panic!("{usage:?}") };
    assert_eq!((bytes.unit(), inodes.unit()), (Unit::Bytes, Unit::Inodes));
    assert_eq!(u64::try_from(bytes.total).unwrap(), filesystem_size(&target));
    assert!(bytes.total > 900 << 20 && bytes.total <= 1 << 30, "{bytes:?}");
    assert!(inodes.total > 0 && inodes.used > 0, "{inodes:?}");
    fs::write(target.join("data"), vec![1; 100 << 20]).unwrap();
    let used = driver.stats(&id, &target).await.unwrap()[0].used;
    assert!(used - bytes.used >= 100 << 20, "{used}");

    assert_eq!(code(driver.stats(&id, &target.join("data")).await), Code::NotFound);
    assert_eq!(code(driver.stats(&id, Path::new("/")).await), Code::NotFound);
    driver.unpublish(&id).await.unwrap();
    fs::create_dir_all(&target).unwrap();
    assert_eq!(code(driver.stats(&id, &target).await), Code::NotFound, "the directory is now on the disk of the node");
    assert_eq!(code(driver.expand(&id, 2 * GIB).await), Code::NotFound);
    driver.remove(&id).await;
}

#[tokio::test]
async fn a_volume_published_read_only_is_writable_only_through_the_staged_mount() {
    let driver = Driver::start().await;
    let id = driver.create(&driver.name("ro"), GIB, &[]).await.unwrap().volume_id;
    driver.stage(&id).await.unwrap();
    driver.publish(&id, true).await.unwrap();
    let target = driver.target(&id);
    assert_eq!(fs::write(target.join("x"), "x").unwrap_err().kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    fs::write(driver.staging(&id).join("x"), "x").unwrap();
    driver.publish(&id, true).await.unwrap();
    assert_eq!(code(driver.publish(&id, false).await), Code::AlreadyExists);
    assert_eq!(driver.expand(&id, 2 * GIB).await.unwrap(), 2 * GIB, "expanded through the writable mount");
    driver.unpublish(&id).await.unwrap();
    driver.publish_as(&id, false, capability("xfs", &[], Mode::SingleNodeReaderOnly)).await.unwrap();
    assert!(fs::write(target.join("x"), "x").is_err());
    driver.remove(&id).await;
}

#[tokio::test]
async fn mount_options_apply_at_the_path_of_the_pod() {
    let driver = Driver::start().await;
    let id = driver.create(&driver.name("options"), GIB, &[]).await.unwrap().volume_id;
    driver.stage(&id).await.unwrap();
    let options = capability("xfs", &["noexec", "nosuid", "noatime"], Mode::SingleNodeWriter);
    driver.publish_as(&id, false, options.clone()).await.unwrap();
    driver.publish_as(&id, false, options).await.unwrap();
    let program = driver.target(&id).join("program");
    fs::copy("/bin/true", &program).unwrap();
    assert_eq!(Command::new(&program).status().unwrap_err().kind(), std::io::ErrorKind::PermissionDenied);
    driver.remove(&id).await;
}

#[tokio::test]
async fn a_mount_of_something_else_is_not_changed() {
    let driver = Driver::start().await;
    let id = driver.create(&driver.name("polite"), GIB, &[]).await.unwrap().volume_id;
    let target = driver.target(&id);
    fs::create_dir_all(&target).unwrap();
    rustix::mount::mount("tmpfs", &target, "tmpfs", rustix::mount::MountFlags::empty(), None).unwrap();
    driver.stage(&id).await.unwrap();
    assert_eq!(code(driver.publish(&id, false).await), Code::AlreadyExists);
    assert_eq!(code(driver.unpublish(&id).await), Code::FailedPrecondition);
    assert_eq!(mounts_at(&target), 1);
}

#[tokio::test]
async fn a_volume_that_is_not_staged_is_not_published() {
    let driver = Driver::start().await;
    let id = driver.create(&driver.name("early"), GIB, &[]).await.unwrap().volume_id;
    assert_eq!(code(driver.publish(&id, false).await), Code::FailedPrecondition);
    fs::create_dir_all(driver.staging(&id)).unwrap();
    assert_eq!(code(driver.publish(&id, false).await), Code::FailedPrecondition);
}

#[tokio::test]
async fn a_damaged_record_blocks_neither_other_volumes_nor_the_end_of_its_pod() {
    let mut driver = Driver::start().await;
    let (good, _) = driver.mounted("good", GIB, &[]).await;
    let (damaged, target) = driver.mounted("damaged", GIB, &[]).await;
    driver.kill();
    fs::write(driver.path("state/volumes").join(format!("{damaged}.json")), "{\"id\"").unwrap();
    driver.restart().await;
    driver.stage(&good).await.unwrap();
    assert_eq!(driver.expand(&good, 2 * GIB).await.unwrap(), 2 * GIB);
    let CallFailed(code, message) = driver.stage(&damaged).await.unwrap_err();
    assert_eq!(code, Code::FailedPrecondition);
    assert!(message.contains("is unavailable") && message.contains("is damaged"), "{message}");
    driver.stats(&damaged, &target).await.unwrap();
    driver.remove(&damaged).await;
    driver.remove(&good).await;
}

#[tokio::test]
async fn a_stop_is_quick_and_leaves_volumes_mounted() {
    let mut driver = Driver::start().await;
    let (id, target) = driver.mounted("stays", GIB, &[]).await;
    let (clean, took) = driver.terminate();
    assert!(clean && took < Duration::from_secs(2), "{clean} {took:?}");
    assert!(!driver.socket().exists());
    fs::write(target.join("written-while-away"), "x").unwrap();
    driver.restart().await;
    driver.stage(&id).await.unwrap();
    driver.publish(&id, false).await.unwrap();
    assert_eq!(mounts_at(&target), 1);
    assert_eq!(driver.expand(&id, 2 * GIB).await.unwrap(), 2 * GIB);
    driver.remove(&id).await;
}

#[tokio::test]
async fn data_is_kept_when_a_volume_is_unstaged_and_staged_again() {
    let driver = Driver::start().await;
    let (id, target) = driver.mounted("kept", 300 * MIB, &[]).await;
    fs::write(target.join("data"), "kept").unwrap();
    driver.unpublish(&id).await.unwrap();
    driver.unstage(&id).await.unwrap();
    driver.stage(&id).await.unwrap();
    driver.publish(&id, false).await.unwrap();
    assert_eq!(fs::read_to_string(target.join("data")).unwrap(), "kept");
    driver.remove(&id).await;
}
