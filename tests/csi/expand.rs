//! Expansion of volumes in use.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use tonic::Code;

use crate::calls::{CallFailed, code};
use crate::harness::{Driver, GIB, MIB, filesystem_size};

/// Writes and rewrites 64 MiB until `stop` is set; every write must succeed.
fn writer(directory: PathBuf, stop: Arc<AtomicBool>) -> JoinHandle<std::io::Result<u64>> {
    std::thread::spawn(move || {
        let mut written = 0;
        while !stop.load(Ordering::Relaxed) {
            let mut file = File::create(directory.join("data"))?;
            for _ in 0..64 {
                file.write_all(&[7; 1 << 20])?;
                written += 1 << 20;
            }
            file.sync_all()?;
        }
        Ok(written)
    })
}

#[tokio::test]
async fn a_volume_is_expanded_by_exactly_the_requested_size_while_a_process_writes() {
    let driver = Driver::start().await;
    let (id, target) = driver.mounted("busy", 400 * MIB, &[]).await;
    let before = filesystem_size(&target);
    let stop = Arc::new(AtomicBool::new(false));
    let writer = writer(target.clone(), Arc::clone(&stop));
    for more in [200 * MIB, 300 * MIB, 2 * GIB] {
        assert_eq!(driver.expand(&id, 400 * MIB + more).await.unwrap(), 400 * MIB + more);
        let added = filesystem_size(&target) - before;
        assert!(added <= more && more - added < MIB, "{added} of {more}");
    }
    stop.store(true, Ordering::Relaxed);
    assert!(writer.join().unwrap().unwrap() > 0);
    driver.remove(&id).await;
}

#[tokio::test]
async fn a_repeated_expansion_or_a_smaller_size_changes_nothing() {
    let driver = Driver::start().await;
    let (id, target) = driver.mounted("same", GIB, &[]).await;
    for requested in [2 * GIB, 2 * GIB, GIB, 0] {
        assert_eq!(driver.expand(&id, requested).await.unwrap(), 2 * GIB);
    }
    let size = filesystem_size(&target);
    assert!(size > 2 * GIB - 100 * MIB && size <= 2 * GIB, "{size}");
    driver.remove(&id).await;
}

#[tokio::test]
async fn a_volume_is_expanded_a_thousandfold() {
    let driver = Driver::start().await;
    let (id, target) = driver.mounted("far", 300 * MIB, &[("overcommit", "1000")]).await;
    assert_eq!(driver.expand(&id, 300 * GIB).await.unwrap(), 300 * GIB);
    assert!(filesystem_size(&target) > 299 * GIB);
    driver.remove(&id).await;
}

#[tokio::test]
async fn a_full_node_rejects_the_expansion_as_infeasible_and_the_volume_stays_usable() {
    let driver = Driver::start_on_disk(GIB).await;
    let (id, target) = driver.mounted("tight", 400 * MIB, &[]).await;
    let before = filesystem_size(&target);
    let CallFailed(code, message) = driver.expand(&id, 2 * GIB).await.unwrap_err();
    assert_eq!(code, Code::OutOfRange, "on this code, the kubelet sets NodeResizeInfeasible: {message}");
    assert!(message.contains("left to allocate"), "{message}");
    assert_eq!(filesystem_size(&target), before);
    std::fs::write(target.join("data"), "still writable").unwrap();
    assert_eq!(driver.expand(&id, 500 * MIB).await.unwrap(), 500 * MIB, "less is possible");
    driver.remove(&id).await;
}

#[tokio::test]
async fn the_maximum_size_of_the_class_is_never_exceeded() {
    let driver = Driver::start().await;
    let class = [("maxSize", "2Gi")];
    assert_eq!(code(driver.create(&driver.name("over"), 3 * GIB, &class).await), Code::OutOfRange);
    let (id, _) = driver.mounted("under", GIB, &class).await;
    let CallFailed(code, message) = driver.expand(&id, 2 * GIB + 1).await.unwrap_err();
    assert_eq!(code, Code::OutOfRange);
    assert!(message.contains("maxSize"), "{message}");
    assert_eq!(driver.expand(&id, 2 * GIB).await.unwrap(), 2 * GIB);
    driver.remove(&id).await;
}

#[tokio::test]
async fn an_ext4_is_expanded_at_the_latest_when_its_pod_is_started_again() {
    let driver = Driver::start().await;
    let (id, target) = driver.mounted("ext4", GIB, &[("fsType", "ext4")]).await;
    let before = filesystem_size(&target);
    std::fs::write(target.join("data"), "kept").unwrap();
    match driver.expand(&id, 2 * GIB).await {
        // The driver has CAP_SYS_RESOURCE.
        Ok(size) => assert_eq!(size, 2 * GIB),
        Err(CallFailed(code, message)) => {
            assert_eq!(code, Code::FailedPrecondition, "{message}");
            assert!(message.contains("CAP_SYS_RESOURCE") && message.contains("next started"), "{message}");
            assert_eq!(filesystem_size(&target), before);
        }
    }
    driver.unpublish(&id).await.unwrap();
    driver.unstage(&id).await.unwrap();
    driver.stage(&id).await.unwrap();
    driver.publish(&id, false).await.unwrap();
    assert_eq!(driver.expand(&id, 2 * GIB).await.unwrap(), 2 * GIB);
    assert!(filesystem_size(&target) - before > 900 * MIB);
    assert_eq!(std::fs::read_to_string(target.join("data")).unwrap(), "kept");
    driver.remove(&id).await;
}
