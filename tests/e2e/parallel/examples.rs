//! Every file in `examples/` is one that people apply: it is applied here, and what it asks for is understood.

use std::path::PathBuf;

use rso::api::reasons::Reason;

use crate::harness::api::Kind;
use crate::harness::live::Live;
use crate::harness::space::in_namespace;

#[tokio::test]
async fn every_example_runs_and_none_of_its_words_is_unknown() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    assert!(!files.is_empty(), "there are no examples");
    for file in files {
        let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
        in_namespace(&format!("example-{name}"), async |space| {
            space.kubectl(&["apply", "-f", file.to_str().unwrap()]).await;
            for object in space.api.list(Kind::StatefulSet, &space.name, "").await {
                let set = Live::named(space, object["metadata"]["name"].as_str().unwrap());
                set.is_ready().await;
                for reason in [Reason::InvalidAnnotation, Reason::UnknownAnnotation, Reason::StorageClassNotExpandable]
                {
                    assert_eq!(set.events(reason).await, Vec::<String>::new(), "{name}: {reason}");
                }
            }
        })
        .await;
    }
}
