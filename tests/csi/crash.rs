//! A driver that is killed at any moment: each call is completed or rolled back, and no data is lost.

use std::fs;
use std::time::{Duration, SystemTime};

use crate::calls::Calls;
use crate::harness::{Driver, GIB, MIB, filesystem_size, mounts_at};

/// Random numbers from a printed seed.
struct Random(u64);

impl Random {
    fn seeded() -> Self {
        let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
        let now = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let seed = seed.unwrap_or_else(now);
        eprintln!("SEED={seed}");
        Self(seed)
    }

    // splitmix64
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }
}

/// Kills the driver within `max_delay` microseconds while `call` is running, and starts it again.
async fn killed_during(driver: &mut Driver, call: impl Future<Output = ()>, random: &mut Random, max_delay: u64) {
    let delay = Duration::from_micros(random.below(max_delay));
    let _ = tokio::time::timeout(delay, call).await;
    driver.kill();
    driver.restart().await;
}

#[tokio::test]
async fn a_driver_killed_during_an_expansion_completes_it_after_the_restart() {
    let mut random = Random::seeded();
    let mut driver = Driver::start().await;
    let (id, target) = driver.mounted("expanded", 300 * MIB, &[]).await;
    fs::write(target.join("data"), vec![5; 50 << 20]).unwrap();
    for round in 1..=25 {
        let size = 300 * MIB + round * 100 * MIB;
        let (calls, id) = (driver.calls(), id.clone());
        let call = async {
            let _ = calls.expand(&id, size).await;
        };
        killed_during(&mut driver, call, &mut random, 30_000).await;
        assert_eq!(driver.expand(&id, size).await.unwrap(), size, "round {round}");
        let got = filesystem_size(&target);
        assert!(got > size - 80 * MIB && got <= size, "round {round}: {got}");
    }
    assert_eq!(fs::read(target.join("data")).unwrap(), vec![5; 50 << 20]);
    driver.remove(&id).await;
}

#[tokio::test]
async fn a_driver_killed_at_any_call_leaves_no_file_after_the_volume_is_deleted() {
    let mut random = Random::seeded();
    let mut driver = Driver::start().await;
    for round in 0..25 {
        let name = driver.name(&format!("v{round}"));
        // Each time, the calls up to a random moment, and then all of them again.
        let calls = all_calls(driver.calls(), name.clone());
        killed_during(&mut driver, calls, &mut random, 200_000).await;
        let id = driver.create(&name, GIB, &[]).await.unwrap().volume_id;
        driver.stage(&id).await.unwrap();
        driver.publish(&id, false).await.unwrap();
        let target = driver.target(&id);
        assert_eq!((mounts_at(&driver.staging(&id)), mounts_at(&target)), (1, 1), "round {round}");
        fs::write(target.join("data"), "x").unwrap();
        driver.remove(&id).await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(driver.files().is_empty(), "left: {:?}", driver.files());
}

async fn all_calls(driver: Calls, name: String) {
    let calls = async {
        let id = driver.create(&name, GIB, &[]).await?.volume_id;
        driver.stage(&id).await?;
        driver.publish(&id, false).await?;
        driver.unpublish(&id).await?;
        driver.unstage(&id).await?;
        driver.delete(&id).await
    };
    let _ = calls.await;
}
