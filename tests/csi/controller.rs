//! The Controller service: create, delete, and list volumes, and report the capacity.

use std::fs;
use std::time::{Duration, Instant};

use rso::csi::proto::registration::registration_client::RegistrationClient;
use rso::csi::proto::registration::{InfoRequest, RegistrationStatus};
use rso::csi::proto::v1::volume_capability::access_mode::Mode;
use rso::csi::proto::v1::{
    CreateVolumeRequest, GetCapacityRequest, GetCapacityResponse, ListVolumesRequest, Topology, TopologyRequirement,
};
use tonic::Code;
use tonic::transport::Endpoint;

use crate::calls::{CallFailed, at_least, capability, code, response, writer};
use crate::harness::{Driver, GIB, MIB};

async fn capacity(driver: &Driver, parameters: &[(&str, &str)]) -> GetCapacityResponse {
    let parameters = parameters.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let request = GetCapacityRequest { parameters, ..GetCapacityRequest::default() };
    response(driver.controller().get_capacity(request).await).unwrap()
}

#[tokio::test]
async fn an_id_that_is_a_path_changes_nothing() {
    let driver = Driver::start().await;
    let outside = driver.path("outside.img");
    fs::write(&outside, "data").unwrap();
    for id in
        ["../../outside", "../outside.img", &driver.path("outside").display().to_string(), "..", "x/../../../outside"]
    {
        driver.delete(id).await.unwrap();
        assert_eq!(code(driver.stage(id).await), Code::NotFound, "{id}");
        assert_eq!(code(driver.publish(id, false).await), Code::NotFound, "{id}");
        assert_eq!(code(driver.unpublish(id).await), Code::NotFound, "{id}");
        assert_eq!(code(driver.expand(id, GIB).await), Code::NotFound, "{id}");
    }
    assert_eq!(fs::read_to_string(outside).unwrap(), "data");
}

#[tokio::test]
async fn a_name_that_is_a_path_creates_an_ordinary_volume() {
    let driver = Driver::start().await;
    let name = format!("../../{}", driver.name("x"));
    let id = driver.create(&name, GIB, &[]).await.unwrap().volume_id;
    assert_eq!(driver.files(), [format!("{id}.img"), format!("{id}.json")]);
    driver.delete(&id).await.unwrap();
}

#[tokio::test]
async fn parallel_calls_with_one_name_create_one_volume() {
    let driver = Driver::start().await;
    let name = driver.name("same");
    let calls = (0..20).map(|_| driver.create(&name, GIB, &[]));
    let ids: Vec<_> =
        futures::future::join_all(calls).await.into_iter().map(|volume| volume.unwrap().volume_id).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!(driver.files(), [format!("{}.img", ids[0]), format!("{}.json", ids[0])]);
}

#[tokio::test]
async fn a_volume_without_a_size_has_the_default_size() {
    let driver = Driver::start().await;
    assert_eq!(driver.create(&driver.name("any"), 0, &[]).await.unwrap().capacity_bytes, 1 << 30);
}

#[tokio::test]
async fn a_volume_has_exactly_the_requested_number_of_bytes() {
    let driver = Driver::start().await;
    for bytes in [700_000_000_u64, 1_000_000_000, 629_145_600, 629_145_601] {
        let volume = driver.create(&driver.name(&format!("b{bytes}")), bytes, &[]).await.unwrap();
        assert_eq!(u64::try_from(volume.capacity_bytes).unwrap(), bytes);
    }
    let small = driver.create(&driver.name("small"), MIB, &[]).await.unwrap();
    assert_eq!(small.capacity_bytes, 300 << 20, "XFS cannot be smaller, and the response contains the actual size");
}

#[tokio::test]
async fn the_same_name_with_another_size_is_rejected() {
    let driver = Driver::start().await;
    let name = driver.name("taken");
    driver.create(&name, GIB, &[]).await.unwrap();
    driver.create(&name, GIB, &[]).await.unwrap();
    assert_eq!(code(driver.create(&name, 2 * GIB, &[]).await), Code::AlreadyExists);
    assert_eq!(code(driver.create(&name, GIB, &[("maxSize", "9Gi")]).await), Code::AlreadyExists);
}

#[tokio::test]
async fn no_more_is_allocated_than_the_disk_has() {
    let driver = Driver::start_on_disk(GIB).await;
    let free = u64::try_from(capacity(&driver, &[]).await.available_capacity).unwrap();
    assert!((GIB - MIB..=GIB).contains(&free), "{free}");
    let first = driver.create(&driver.name("one"), 400 * MIB, &[]).await.unwrap();
    driver.create(&driver.name("two"), 400 * MIB, &[]).await.unwrap();
    let CallFailed(code, message) = driver.create(&driver.name("three"), 400 * MIB, &[]).await.unwrap_err();
    assert_eq!(code, Code::ResourceExhausted, "the only code on which the Pod is scheduled to another node: {message}");
    assert!(message.contains("node1") && message.contains("left to allocate"), "{message}");
    driver.delete(&first.volume_id).await.unwrap();
    driver.create(&driver.name("three"), 400 * MIB, &[]).await.unwrap();
}

#[tokio::test]
async fn parallel_calls_allocate_no_more_than_the_disk_has() {
    let driver = Driver::start_on_disk(2 * GIB).await;
    let names: Vec<_> = (0..12).map(|n| driver.name(&format!("v{n}"))).collect();
    let created = futures::future::join_all(names.iter().map(|name| driver.create(name, 400 * MIB, &[]))).await;
    let rejected: Vec<_> = created.iter().filter_map(|volume| volume.as_ref().err()).collect();
    assert_eq!(created.len() - rejected.len(), 5, "5 × 400 MiB fit into 2 GiB");
    assert!(rejected.iter().all(|error| error.0 == Code::ResourceExhausted), "{rejected:?}");
    assert_eq!(driver.files().len(), 10, "a rejected call leaves no file");
}

#[tokio::test]
async fn overcommit_allocates_a_tebibyte_on_a_small_disk() {
    let driver = Driver::start_on_disk(2 * GIB).await;
    let (id, target) = driver.mounted("huge", 1 << 40, &[("overcommit", "1000")]).await;
    assert!(crate::harness::filesystem_size(&target) > 1_000 * GIB);
    driver.remove(&id).await;
}

#[tokio::test]
async fn the_capacity_depends_on_the_class() {
    let driver = Driver::start_on_disk(GIB).await;
    let plain = capacity(&driver, &[]).await;
    assert_eq!(plain.maximum_volume_size, Some(plain.available_capacity));
    assert_eq!(plain.minimum_volume_size, Some(300 << 20));
    let doubled = capacity(&driver, &[("overcommit", "2"), ("maxSize", "500Mi")]).await;
    assert!((plain.available_capacity - doubled.available_capacity / 2).abs() < 1 << 20);
    assert_eq!(doubled.maximum_volume_size, Some(500 << 20));
    let elsewhere =
        Topology { segments: [("local.csi.resize-statefulset-operator/node".into(), "node2".into())].into() };
    let request = GetCapacityRequest { accessible_topology: Some(elsewhere), ..GetCapacityRequest::default() };
    assert_eq!(response(driver.controller().get_capacity(request).await).unwrap().available_capacity, 0);
}

#[tokio::test]
async fn a_volume_for_another_node_is_not_created_here() {
    let driver = Driver::start().await;
    let place =
        |node: &str| Topology { segments: [("local.csi.resize-statefulset-operator/node".into(), node.into())].into() };
    let request = |requisite: Vec<Topology>| CreateVolumeRequest {
        name: driver.name("placed"),
        capacity_range: at_least(GIB),
        volume_capabilities: vec![writer()],
        accessibility_requirements: Some(TopologyRequirement { requisite, preferred: vec![] }),
        ..CreateVolumeRequest::default()
    };
    let elsewhere = driver.controller().create_volume(request(vec![place("node2")])).await;
    assert_eq!(code(response(elsewhere)), Code::ResourceExhausted);
    let here =
        response(driver.controller().create_volume(request(vec![place("node2"), place("node1")])).await).unwrap();
    assert_eq!(here.volume.unwrap().accessible_topology, [place("node1")]);
}

#[tokio::test]
async fn an_unsupported_request_is_rejected_with_the_reason() {
    let driver = Driver::start().await;
    let mut shared = CreateVolumeRequest {
        name: driver.name("shared"),
        volume_capabilities: vec![capability("", &[], Mode::MultiNodeMultiWriter)],
        ..CreateVolumeRequest::default()
    };
    let CallFailed(code, message) = response(driver.controller().create_volume(shared.clone()).await).unwrap_err();
    assert_eq!(code, Code::InvalidArgument);
    assert!(message.contains("MULTI_NODE_MULTI_WRITER") && message.contains("ReadWriteOnce"), "{message}");
    shared.volume_capabilities = vec![writer()];
    shared.parameters = [("Overcommit".to_owned(), "2".to_owned())].into();
    let CallFailed(code, message) = response(driver.controller().create_volume(shared).await).unwrap_err();
    assert_eq!(code, Code::InvalidArgument);
    assert!(message.contains("\"Overcommit\" is unknown"), "{message}");
    assert!(driver.files().is_empty());
}

#[tokio::test]
async fn pages_are_consistent_while_volumes_are_created_and_deleted() {
    let driver = Driver::start().await;
    for name in ["a", "b", "c", "d"] {
        driver.create(&driver.name(name), GIB, &[]).await.unwrap();
    }
    let page = async |token: &str| {
        let request = ListVolumesRequest { max_entries: 2, starting_token: token.to_owned() };
        let page = response(driver.controller().list_volumes(request).await).unwrap();
        let ids: Vec<_> = page.entries.into_iter().map(|entry| entry.volume.unwrap().volume_id).collect();
        (ids, page.next_token)
    };
    let (first, token) = page("").await;
    assert_eq!(first, [driver.name("a"), driver.name("b")]);
    driver.delete(&driver.name("b")).await.unwrap();
    driver.create(&driver.name("e"), GIB, &[]).await.unwrap();
    let (second, token) = page(&token).await;
    assert_eq!(second, [driver.name("c"), driver.name("d")]);
    assert_eq!(page(&token).await, (vec![driver.name("e")], String::new()));
    let foreign = ListVolumesRequest { max_entries: 0, starting_token: "a".to_owned() };
    assert_eq!(code(response(driver.controller().list_volumes(foreign).await)), Code::Aborted);
}

#[tokio::test]
async fn a_mounted_volume_is_not_deleted_and_a_large_one_is_deleted_at_once() {
    let driver = Driver::start().await;
    let (id, target) = driver.mounted("large", 4 * GIB, &[]).await;
    let file = fs::File::create(target.join("data")).unwrap();
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, 3 * GIB).unwrap();
    drop(file);
    assert_eq!(code(driver.delete(&id).await), Code::FailedPrecondition);
    driver.unpublish(&id).await.unwrap();
    driver.unstage(&id).await.unwrap();
    let start = Instant::now();
    driver.delete(&id).await.unwrap();
    driver.delete(&id).await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    let deadline = Instant::now() + Duration::from_secs(10);
    while !driver.files().is_empty() {
        assert!(Instant::now() < deadline, "left: {:?}", driver.files());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn the_kubelet_gets_the_socket_of_the_driver() {
    let driver = Driver::start().await;
    let socket = fs::read_dir(driver.path("registry")).unwrap().next().unwrap().unwrap().path();
    let endpoint = Endpoint::from_shared(format!("unix://{}", socket.display())).unwrap();
    let mut kubelet = RegistrationClient::new(endpoint.connect().await.unwrap());
    let info = kubelet.get_info(InfoRequest {}).await.unwrap().into_inner();
    assert_eq!((info.r#type.as_str(), info.name.as_str()), ("CSIPlugin", "local.csi.resize-statefulset-operator"));
    assert_eq!(
        (info.endpoint, info.supported_versions),
        (driver.socket().display().to_string(), vec!["1.0.0".to_owned()])
    );
    kubelet
        .notify_registration_status(RegistrationStatus { plugin_registered: true, error: String::new() })
        .await
        .unwrap();
}
