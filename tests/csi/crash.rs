//! Killed at any moment: what was begun is finished or undone, and nothing is lost.

use std::fs;
use std::time::{Duration, SystemTime};

use crate::harness::{Calls, Driver, GIB, MIB, filesystem_size, mounts_at};

/// A few good random numbers from a printed seed.
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

/// Kills the driver within `most` microseconds while `call` is running, and starts it again.
async fn killed_during(driver: &mut Driver, call: impl Future<Output = ()>, random: &mut Random, most: u64) {
    let delay = Duration::from_micros(random.below(most));
    let _ = tokio::time::timeout(delay, call).await;
    driver.kill();
    driver.restart().await;
}

#[tokio::test]
async fn a_driver_killed_while_it_grows_a_volume_goes_on_where_it_was() {
    let mut random = Random::seeded();
    let mut driver = Driver::start().await;
    let (id, target) = driver.mounted("grown", 300 * MIB, &[]).await;
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
    driver.gone(&id).await;
}

#[tokio::test]
async fn a_driver_killed_at_any_call_of_a_volumes_life_leaves_nothing_behind() {
    let mut random = Random::seeded();
    let mut driver = Driver::start().await;
    for round in 0..25 {
        let name = driver.name(&format!("v{round}"));
        // Each time, the life up to some moment, then again, whole.
        let life = whole_life(driver.calls(), name.clone());
        killed_during(&mut driver, life, &mut random, 200_000).await;
        let id = driver.create(&name, GIB, &[]).await.unwrap().volume_id;
        driver.stage(&id).await.unwrap();
        driver.publish(&id, false).await.unwrap();
        let target = driver.target(&id);
        assert_eq!((mounts_at(&driver.staging(&id)), mounts_at(&target)), (1, 1), "round {round}");
        fs::write(target.join("data"), "x").unwrap();
        driver.gone(&id).await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(driver.files().is_empty(), "left: {:?}", driver.files());
}

async fn whole_life(driver: Calls, name: String) {
    let life = async {
        let id = driver.create(&name, GIB, &[]).await?.volume_id;
        driver.stage(&id).await?;
        driver.publish(&id, false).await?;
        driver.unpublish(&id).await?;
        driver.unstage(&id).await?;
        driver.delete(&id).await
    };
    let _ = life.await;
}
