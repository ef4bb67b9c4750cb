//! The objects of one kind that a watch reports, each as small as it is kept. To read from a store costs no request.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tokio::sync::watch;

/// The objects of a kind, in one scope.
#[derive(Debug)]
pub(super) struct Store<T> {
    objects: Arc<RwLock<Objects<T>>>,
    listed: watch::Receiver<bool>,
}

/// The end of a store that the events of its watch go into.
#[derive(Debug)]
pub(super) struct Writer<T> {
    objects: Arc<RwLock<Objects<T>>>,
    listed: watch::Sender<bool>,
}

/// The namespace, empty for an object without one, and the name.
pub(super) type Key<'a> = (&'a str, &'a str);

#[derive(Debug)]
struct Objects<T> {
    /// By namespace, then by name.
    by_name: BTreeMap<Box<str>, BTreeMap<Box<str>, Kept<T>>>,
    /// The number of the current list: what the last one did not contain is gone.
    list: u32,
}

#[derive(Debug)]
struct Kept<T> {
    object: Arc<T>,
    /// The list that contained it last, or that was the current one when the watch reported it.
    list: u32,
}

/// A store, and its writer.
pub(super) fn store<T>() -> (Store<T>, Writer<T>) {
    let objects = Arc::new(RwLock::new(Objects { by_name: BTreeMap::new(), list: 0 }));
    let (sender, receiver) = watch::channel(false);
    (Store { objects: Arc::clone(&objects), listed: receiver }, Writer { objects, listed: sender })
}

impl<T> Writer<T> {
    /// Replaces an object; `None`: it does not exist, or nothing is kept of it.
    pub(super) fn put(&self, key: Key<'_>, object: Option<T>) {
        let mut objects = self.write();
        match object {
            Some(object) => objects.insert(key, object),
            None => objects.remove(key),
        }
    }

    /// Begins a list of all objects, which follow one by one.
    pub(super) fn begin_list(&self) {
        let mut objects = self.write();
        objects.list = objects.list.wrapping_add(1);
    }

    /// Ends the list: what it did not contain is gone.
    pub(super) fn end_list(&self) {
        self.write().remove_unlisted();
        self.listed.send_replace(true);
    }

    fn write(&self) -> RwLockWriteGuard<'_, Objects<T>> {
        self.objects.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Objects<T> {
    fn insert(&mut self, (namespace, name): Key<'_>, object: T) {
        let kept = Kept { object: Arc::new(object), list: self.list };
        let Some(of_namespace) = self.by_name.get_mut(namespace) else {
            self.by_name.insert(namespace.into(), BTreeMap::from([(name.into(), kept)]));
            return;
        };
        match of_namespace.get_mut(name) {
            Some(known) => *known = kept,
            None => drop(of_namespace.insert(name.into(), kept)),
        }
    }

    fn remove(&mut self, (namespace, name): Key<'_>) {
        let Some(of_namespace) = self.by_name.get_mut(namespace) else { return };
        of_namespace.remove(name);
        if of_namespace.is_empty() {
            self.by_name.remove(namespace);
        }
    }

    fn remove_unlisted(&mut self) {
        let list = self.list;
        self.by_name.retain(|_, of_namespace| {
            of_namespace.retain(|_, kept| kept.list == list);
            !of_namespace.is_empty()
        });
    }
}

impl<T> Store<T> {
    /// Waits until the watch has listed all objects once. `false`: it has ended for good.
    pub(super) async fn ready(&self) -> bool {
        self.listed.clone().wait_for(|listed| *listed).await.is_ok()
    }

    /// The object with this name, if it exists and is kept.
    pub(super) fn get(&self, (namespace, name): Key<'_>) -> Option<Arc<T>> {
        Some(Arc::clone(&self.read().by_name.get(namespace)?.get(name)?.object))
    }

    /// How many objects are kept.
    pub(super) fn len(&self) -> usize {
        self.read().by_name.values().map(BTreeMap::len).sum()
    }

    /// What `wanted` makes of all objects.
    pub(super) fn select<R>(&self, wanted: impl FnMut(&T) -> Option<R>) -> Vec<R> {
        let objects = self.read();
        objects.by_name.values().flat_map(BTreeMap::values).map(|kept| &*kept.object).filter_map(wanted).collect()
    }

    /// The objects of a namespace whose names begin with this prefix.
    pub(super) fn with_prefix(&self, namespace: &str, prefix: &str) -> Vec<Arc<T>> {
        let objects = self.read();
        let of_namespace = objects.by_name.get(namespace).into_iter();
        let from = of_namespace.flat_map(|all| all.range::<str, _>((Bound::Included(prefix), Bound::Unbounded)));
        from.take_while(|(name, _)| name.starts_with(prefix)).map(|(_, kept)| Arc::clone(&kept.object)).collect()
    }

    fn read(&self) -> RwLockReadGuard<'_, Objects<T>> {
        self.objects.read().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(store: &Store<&'static str>) -> Vec<&'static str> {
        store.select(|name| Some(*name))
    }

    #[test]
    fn a_store_has_what_was_listed_and_what_changed_since() {
        let (store, writer) = store();
        writer.begin_list();
        writer.put(("shop", "b"), Some("b"));
        writer.put(("other", "c"), Some("c"));
        writer.end_list();
        writer.put(("shop", "a"), Some("a"));
        assert_eq!(names(&store), ["c", "a", "b"]);
        writer.put(("shop", "b"), None);
        writer.put(("other", "c"), None);
        assert_eq!((names(&store), store.len()), (vec!["a"], 1));
        assert_eq!((store.get(("shop", "a")).as_deref(), store.get(("other", "c"))), (Some(&"a"), None));
    }

    #[test]
    fn what_a_later_list_does_not_contain_is_gone_when_that_list_is_complete() {
        let (store, writer) = store();
        let list = |names: &[&'static str]| {
            writer.begin_list();
            names.iter().for_each(|name| writer.put(("shop", name), Some(*name)));
        };
        list(&["a", "b"]);
        writer.end_list();
        // A list that fails begins again.
        list(&["c"]);
        list(&["b", "d"]);
        assert_eq!(names(&store), ["a", "b", "c", "d"]);
        writer.end_list();
        assert_eq!(names(&store), ["b", "d"]);
    }

    #[test]
    fn objects_are_found_by_the_beginning_of_their_names() {
        let (store, writer) = store();
        for name in ["data-d-0", "data-db-0", "data-db-1", "data-dc-0", "wal-db-0"] {
            writer.put(("shop", name), Some(name));
        }
        let found = |namespace: &str, prefix: &str| {
            store.with_prefix(namespace, prefix).iter().map(|name| **name).collect::<Vec<_>>()
        };
        assert_eq!(found("shop", "data-db-"), ["data-db-0", "data-db-1"]);
        assert_eq!(found("shop", "x"), Vec::<&str>::new());
        assert_eq!(found("other", ""), Vec::<&str>::new());
    }

    #[tokio::test]
    async fn a_store_is_ready_after_the_first_list_and_never_if_its_watch_ends_before() {
        let (store, writer) = store::<()>();
        writer.begin_list();
        writer.end_list();
        drop(writer);
        assert!(store.ready().await);
        let (store, writer) = super::store::<()>();
        drop(writer);
        assert!(!store.ready().await);
    }
}
