//! The watches of one kind: in all watched namespaces, what is kept of each object, and what a change of it matters to.

use std::sync::Arc;

use futures::stream::{BoxStream, StreamExt};
use kube::api::ObjectMeta;
use kube::core::NamespaceResourceScope;
use kube::runtime::watcher::Event;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource};

use super::item::{Fields, Item};
use super::store::{Key, Store, store};

/// The objects of one kind, in all watched namespaces; none if the kind is not watched.
#[derive(Debug)]
pub(super) struct Stores<T>(Vec<Store<T>>);

impl<T> Default for Stores<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

/// An observer of the events of a watch.
type Heard<F> = dyn Fn(&Event<Item<F>>) + Send + Sync;

/// How objects of a kind are watched.
pub(super) struct Watching<F, T, C> {
    config: watcher::Config,
    /// What is kept of an object, if anything.
    kept: fn(F) -> Option<T>,
    /// What a change of the object can matter to.
    changed: fn(&F) -> Option<C>,
    /// Gets each event before the cache shows it.
    heard: Arc<Heard<F>>,
}

impl<F, T, C> Watching<F, T, C> {
    pub(super) fn new(config: watcher::Config, kept: fn(F) -> Option<T>, changed: fn(&F) -> Option<C>) -> Self {
        Self { config, kept, changed, heard: Arc::new(|_| {}) }
    }

    /// With an observer of the events.
    pub(super) fn heard(self, heard: impl Fn(&Event<Item<F>>) + Send + Sync + 'static) -> Self {
        Self { heard: Arc::new(heard), ..self }
    }
}

/// What the watches report: a change, or an error if a watch was restarted.
pub(super) type Streams<C> = Vec<BoxStream<'static, Result<C, watcher::Error>>>;

/// Watches the objects in these namespaces, or in all of them.
pub(super) fn watch<F, T, C>(
    client: &Client,
    namespaces: Option<&[String]>,
    watching: &Watching<F, T, C>,
    streams: &mut Streams<C>,
) -> Stores<T>
where
    F: Fields<Kind: Resource<Scope = NamespaceResourceScope>>,
    T: Send + Sync + 'static,
    C: Send + 'static,
{
    let apis: Vec<Api<Item<F>>> = match namespaces {
        None => vec![Api::all(client.clone())],
        Some(names) => names.iter().map(|name| Api::namespaced(client.clone(), name)).collect(),
    };
    Stores(apis.into_iter().map(|api| one(api, watching, streams)).collect())
}

/// Watches the objects of the whole cluster, of a kind that has no namespaces.
pub(super) fn watch_all<F: Fields, T: Send + Sync + 'static, C: Send + 'static>(
    client: &Client,
    watching: &Watching<F, T, C>,
    streams: &mut Streams<C>,
) -> Stores<T> {
    Stores(vec![one(Api::all(client.clone()), watching, streams)])
}

fn one<F: Fields, T: Send + Sync + 'static, C: Send + 'static>(
    api: Api<Item<F>>,
    watching: &Watching<F, T, C>,
    streams: &mut Streams<C>,
) -> Store<T> {
    let (reader, writer) = store();
    let (kept, changed, heard) = (watching.kept, watching.changed, Arc::clone(&watching.heard));
    let take = move |event: Event<Item<F>>| {
        heard(&event);
        let change = match &event {
            Event::Apply(item) | Event::InitApply(item) | Event::Delete(item) => changed(&item.fields),
            Event::Init | Event::InitDone => None,
        };
        match event {
            Event::Apply(Item { meta, fields }) | Event::InitApply(Item { meta, fields }) => {
                writer.put(key(&meta), kept(fields));
            }
            Event::Delete(Item { meta, .. }) => writer.put(key(&meta), None),
            Event::Init => writer.begin_list(),
            Event::InitDone => writer.end_list(),
        }
        change
    };
    let stream = watcher(api, watching.config.clone()).default_backoff();
    let stream = stream.filter_map(move |event| std::future::ready(event.map(&take).transpose()));
    streams.push(stream.boxed());
    reader
}

fn key(meta: &ObjectMeta) -> Key<'_> {
    (meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default())
}

impl<T> Stores<T> {
    /// The object with this name, if it exists and is kept.
    pub(super) fn get(&self, key: Key<'_>) -> Option<Arc<T>> {
        self.0.iter().find_map(|store| store.get(key))
    }

    /// What `wanted` makes of all objects.
    pub(super) fn select<R>(&self, mut wanted: impl FnMut(&T) -> Option<R>) -> Vec<R> {
        self.0.iter().flat_map(|store| store.select(&mut wanted)).collect()
    }

    /// The objects of a namespace whose names begin with this prefix.
    pub(super) fn with_prefix(&self, namespace: &str, prefix: &str) -> Vec<Arc<T>> {
        self.0.iter().flat_map(|store| store.with_prefix(namespace, prefix)).collect()
    }

    /// How many objects are kept.
    pub(super) fn len(&self) -> usize {
        self.0.iter().map(Store::len).sum()
    }

    /// Whether nothing is watched.
    pub(super) fn is_none(&self) -> bool {
        self.0.is_empty()
    }

    /// Waits until every watch has listed all objects. `false`: one has ended for good.
    pub(super) async fn ready(&self) -> bool {
        for store in &self.0 {
            if !store.ready().await {
                return false;
            }
        }
        true
    }
}
