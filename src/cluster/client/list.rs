//! Lists that take little memory, regardless of the number and size of the objects.
//!
//! A list is read page by page, consistently, at one resourceVersion. Only the bytes of one page are in memory: the
//! objects are parsed one after the other, and what the caller does not keep is dropped before the next one is parsed.
//! A page that is too large is requested again with fewer objects, and the process reads few pages at the same time.

use std::fmt;
use std::sync::Arc;

use http::Method;
use http_body_util::LengthLimitError;
use hyper::body::Bytes;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use tokio::sync::Semaphore;

use super::{Call, Client, Effect, Error, Outcome, call};
use crate::api::objects::{Resource, segment};

/// Objects on the first page: their size is still unknown.
const FIRST_PAGE_LIMIT: usize = 50;
/// The largest number of objects on a page.
const MAX_PAGE_LIMIT: usize = 500;
/// The size that a page should have.
const TARGET_PAGE_BYTES: usize = 1 << 20;
/// Pages that the process reads at the same time: 32 MiB in the worst case.
const MAX_CONCURRENT_PAGES: usize = 4;
/// How often a list starts again because the resourceVersion of its first page has expired.
const MAX_LIST_RESTARTS: u32 = 2;

/// How much of each object is requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The whole object.
    Whole,
    /// `metadata` only: the server omits the rest.
    Metadata,
}

/// A list at one resourceVersion.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct List {
    /// The objects. Items of a list lack `kind` and `apiVersion`.
    pub items: Vec<Value>,
}

/// Restricts a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Selector<'a> {
    /// `key=value,…`.
    pub labels: Option<&'a str>,
    /// `metadata.name=…`.
    pub fields: Option<&'a str>,
}

/// Limits the pages that are read at the same time.
pub(super) fn pages() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(MAX_CONCURRENT_PAGES))
}

impl Form {
    const fn accept(self) -> &'static str {
        match self {
            Self::Whole => "application/json",
            Self::Metadata => "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
        }
    }
}

impl Client {
    /// Lists the objects of a kind in one namespace or in all, consistently, at one resourceVersion. All of them are in
    /// memory: for the command line, not for the controller.
    pub async fn list(
        &self,
        resource: &'static Resource,
        namespace: Option<&str>,
        selector: Selector<'_>,
    ) -> Result<List, Error> {
        let items = self.select(resource, namespace, selector, Form::Whole, Some).await?;
        Ok(List { items })
    }

    /// The same, but keeps only what `keep` returns for each object.
    pub async fn select<T>(
        &self,
        resource: &'static Resource,
        namespace: Option<&str>,
        selector: Selector<'_>,
        form: Form,
        mut keep: impl FnMut(Value) -> Option<T>,
    ) -> Result<Vec<T>, Error> {
        let call = call("list", resource, None, place(resource, namespace), Effect::Reads);
        let (mut kept, mut next, mut limit, mut restarts) = (Vec::new(), String::new(), FIRST_PAGE_LIMIT, 0);
        loop {
            // The semaphore is never closed, so this cannot fail.
            let _permit = self.pages.acquire().await.ok();
            let path = page_path(resource, namespace, selector, limit, &next);
            let body = match self.page(&call, path, form).await {
                Err(Error::NoAnswer { source, .. }) if source.is::<LengthLimitError>() && limit > 1 => {
                    limit = limit.div_ceil(4);
                    continue;
                }
                // All pages must have the same resourceVersion.
                Err(Error::Busy { code: 410, .. }) if !next.is_empty() && restarts < MAX_LIST_RESTARTS => {
                    restarts += 1;
                    kept.clear();
                    next.clear();
                    continue;
                }
                body => body?,
            };
            let read = read_page(&body, |object| kept.extend(keep(object)));
            let page = read.map_err(|source| Error::Unreadable { call: call.clone(), source })?;
            next = page.next;
            if next.is_empty() {
                return Ok(kept);
            }
            limit = next_limit(body.len(), page.count);
        }
    }

    async fn page(&self, call: &Call, path: String, form: Form) -> Result<Bytes, Error> {
        match self.exchange(call.clone(), Method::GET, path, form.accept(), None).await? {
            Outcome::Done(page) => Ok(page),
            Outcome::NotFound | Outcome::Conflict(_) | Outcome::AlreadyExists => {
                let message = format!("the API server does not serve {}", call.resource);
                Err(Error::Invalid { call: call.clone(), code: 404, message })
            }
        }
    }
}

/// The path and query of a page; `next`: the `continue` token, empty for the first page.
fn page_path(resource: &Resource, namespace: Option<&str>, selector: Selector<'_>, limit: usize, next: &str) -> String {
    let mut path = format!("{}?limit={limit}", resource.path(namespace));
    for (key, value) in
        [("labelSelector", selector.labels), ("fieldSelector", selector.fields), ("continue", Some(next))]
    {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            path.push_str(&format!("&{key}={}", segment(value)));
        }
    }
    path
}

fn place(resource: &Resource, namespace: Option<&str>) -> String {
    let place = namespace.map_or_else(|| "of all namespaces".to_owned(), |namespace| format!("in {namespace}"));
    format!("{} {place}", resource.plural)
}

/// Objects on the next page, from the bytes and objects of this one.
fn next_limit(bytes: usize, count: usize) -> usize {
    let each = bytes.div_ceil(count.max(1)).max(1);
    (TARGET_PAGE_BYTES / each).clamp(1, MAX_PAGE_LIMIT)
}

/// What a page contains besides its objects.
#[derive(Debug, Default, PartialEq)]
struct Page {
    /// `metadata.continue`; empty on the last page.
    next: String,
    /// The number of objects.
    count: usize,
}

#[derive(serde::Deserialize)]
struct ListMeta {
    #[serde(rename = "continue", default)]
    next: String,
}

/// Parses a page and passes on each object as soon as it is parsed.
fn read_page(body: &[u8], object: impl FnMut(Value)) -> Result<Page, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let page = reader.deserialize_map(PageVisitor(object))?;
    reader.end().map(|()| page)
}

struct PageVisitor<F>(F);

impl<'de, F: FnMut(Value)> Visitor<'de> for PageVisitor<F> {
    type Value = Page;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of objects")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Page, A::Error> {
        let mut page = Page::default();
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "metadata" => page.next = map.next_value::<ListMeta>()?.next,
                "items" => page.count = map.next_value_seed(ItemsVisitor(&mut self.0))?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(page)
    }
}

struct ItemsVisitor<'a, F>(&'a mut F);

impl<'de, F: FnMut(Value)> DeserializeSeed<'de> for ItemsVisitor<'_, F> {
    type Value = usize;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<usize, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, F: FnMut(Value)> Visitor<'de> for ItemsVisitor<'_, F> {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("objects")
    }

    /// An empty list may be `null`.
    fn visit_unit<E>(self) -> Result<usize, E> {
        Ok(0)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut objects: A) -> Result<usize, A::Error> {
        let mut count = 0;
        while let Some(object) = objects.next_element()? {
            (self.0)(object);
            count += 1;
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_object_of_a_page_is_passed_on_and_the_rest_is_skipped() {
        let check = |body: &str, names: &[&str], next: &str| {
            let mut seen = Vec::new();
            let page = read_page(body.as_bytes(), |object| seen.push(object["name"].as_str().unwrap().to_owned()));
            assert_eq!(page.unwrap(), Page { next: next.to_owned(), count: names.len() }, "{body}");
            assert_eq!(seen, names, "{body}");
        };
        check(r#"{"kind":"PodList","metadata":{"resourceVersion":"7"},"items":[]}"#, &[], "");
        check(r#"{"metadata":{},"items":null,"more":[{"a":{}}]}"#, &[], "");
        check(
            r#"{"items":[{"name":"a"},{"name":"b"}],"metadata":{"continue":"x","remainingItemCount":3}}"#,
            &["a", "b"],
            "x",
        );
    }

    #[test]
    fn an_invalid_page_is_an_error() {
        for body in ["", "[]", "{\"items\":[", "{\"items\":7}", "{\"items\":[{}]} {}"] {
            assert!(read_page(body.as_bytes(), |_| ()).is_err(), "{body}");
        }
    }

    #[test]
    fn large_objects_lead_to_small_pages() {
        let check = |bytes, count, expected| assert_eq!(next_limit(bytes, count), expected, "{bytes} {count}");
        check(50 * 2_000, 50, 500);
        check(50 * 10_000, 50, 104);
        check(50 * 262_144, 50, 4);
        check(3 << 20, 2, 1);
        check(0, 0, 500);
    }
}
