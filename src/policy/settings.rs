//! The settings of a StatefulSet and its templates: the defaults, its labels and annotations, and the administrator's
//! limits.
//!
//! An invalid value leaves its key without effect and is reported; it affects no other key. An invalid `auto-scaled`
//! annotation still hides the label: rso does not expand by usage where the StatefulSet may have meant to forbid it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::overrides::{Layer, Value, merge};
use super::values::distance;
use crate::api::annotations::{AUTO_SCALED, KEYS, PREFIX};
use crate::api::bytes::{Bytes, Percent};
use crate::api::names::TemplateName;
use crate::api::reasons::Note;

pub use super::overrides::Origin;
pub use super::values::{Auto, Increase, Request, TemplateSync};

mod annotations;
mod listed;
mod sources;

pub use listed::Listed;
pub use sources::{Source, Stack};

/// The limits of the administrator, set by flags. They have precedence over annotations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// No PVC is expanded above this.
    pub max_size: Option<Bytes>,
    /// No expansion by usage is larger than this.
    pub max_step: Option<Bytes>,
    /// The least time between two expansions of a PVC by usage.
    pub min_cooldown: Duration,
}

impl Limits {
    fn layers(&self, origin: &Origin) -> Vec<Layer> {
        let values = self.max_size.map(Value::MaxSize).into_iter().chain([Value::Cooldown(self.min_cooldown)]);
        values.map(|value| Layer { origin: origin.clone(), template: None, value }).collect()
    }

    /// The stricter of each.
    #[must_use]
    fn and(&self, other: &Self) -> Self {
        let smaller = |one: Option<Bytes>, other: Option<Bytes>| one.into_iter().chain(other).min();
        Self {
            max_size: smaller(self.max_size, other.max_size),
            max_step: smaller(self.max_step, other.max_step),
            min_cooldown: self.min_cooldown.max(other.min_cooldown),
        }
    }
}

/// The settings of one template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateSettings {
    /// The template.
    pub name: TemplateName,
    /// Whether it is expanded by usage.
    pub auto: Auto,
    /// Expand when a replica is this full.
    pub threshold: Percent,
    /// The same for inodes.
    pub inodes_threshold: Percent,
    /// The size of a step.
    pub increase: Increase,
    /// A step is at least this.
    pub min_increase: Bytes,
    /// A step is at most this: the administrator's.
    pub max_step: Option<Bytes>,
    /// Never above this; the smaller of the StatefulSet's and the administrator's.
    pub max_size: Option<Bytes>,
    /// The minimum time between two expansions by usage, if the StatefulSet sets it; otherwise that of the CSI driver
    /// applies.
    pub cooldown: Option<Duration>,
    /// The least time between two expansions by usage, regardless of StatefulSet and driver: the administrator's.
    pub min_cooldown: Duration,
    /// Expand when the volume will be full within this time.
    pub lead_time: Option<Duration>,
    /// Expand a volume that nothing measures, if there is evidence that it is full.
    pub rescue: bool,
    /// The largest size that is requested.
    pub requested: Option<Request>,
    /// When the template is updated.
    pub template_sync: TemplateSync,
    /// The source of each setting, by its key; what is missing is the default.
    pub origins: BTreeMap<String, Origin>,
}

impl TemplateSettings {
    /// The defaults of the product, within the administrator's limits.
    #[cfg(feature = "testing")]
    pub fn new(name: TemplateName, limits: &Limits) -> Self {
        Self::of(name, &limits.layers(&Origin::Limit), limits)
    }

    /// The defaults with these layers on top.
    fn of(name: TemplateName, layers: &[Layer], limits: &Limits) -> Self {
        let merged = merge(layers, Some(&name));
        let mut settings = Self {
            name,
            auto: Auto::Off,
            threshold: Percent::whole(80),
            inodes_threshold: Percent::whole(80),
            increase: Increase::Share(Percent::whole(20)),
            min_increase: Bytes::gib(1),
            max_step: limits.max_step,
            max_size: None,
            cooldown: None,
            min_cooldown: limits.min_cooldown,
            lead_time: None,
            rescue: false,
            requested: None,
            template_sync: TemplateSync::Always,
            origins: BTreeMap::new(),
        };
        merged.into_values().for_each(|layer| settings.set(layer));
        settings
    }

    fn set(&mut self, layer: &Layer) {
        match &layer.value {
            Value::AutoScaled(auto) => self.auto = *auto,
            Value::Threshold(threshold) => self.threshold = *threshold,
            Value::InodesThreshold(threshold) => self.inodes_threshold = *threshold,
            Value::Increase(increase) => self.increase = *increase,
            Value::MinIncrease(size) => self.min_increase = *size,
            Value::MaxSize(size) => self.max_size = Some(*size),
            Value::Cooldown(time) => self.cooldown = Some(*time),
            Value::LeadTime(time) => self.lead_time = Some(*time),
            Value::Rescue(rescue) => self.rescue = *rescue,
            Value::TemplateSync(mode) => self.template_sync = *mode,
            // It names its annotation itself.
            Value::Request(request) => return self.requested = Some(request.clone()),
            Value::InvalidAutoScaled | Value::Paused(_) | Value::AllowOwner(_) => return,
        }
        self.origins.insert(layer.value.key().to_owned(), layer.origin.clone());
    }
}

/// The settings of a StatefulSet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// rso starts nothing.
    pub paused: bool,
    /// The kind of a controller whose StatefulSets rso may recreate.
    pub allow_owner: Option<String>,
    /// When the template is updated.
    pub template_sync: TemplateSync,
    /// The settings of every template of the StatefulSet.
    pub templates: BTreeMap<TemplateName, TemplateSettings>,
}

/// Whether rso manages a StatefulSet with these annotations and labels, if only to report a misspelled key.
///
/// rso never touches a StatefulSet with none of its keys, or with `auto-scaled: "false"` and settings only.
pub fn concerns_us(annotations: &BTreeMap<String, String>, labels: &BTreeMap<String, String>) -> bool {
    let is_auto = |key: &str| key == "auto-scaled" || key.starts_with("auto-scaled.");
    let by_label = labels.iter().any(|(key, value)| key.strip_prefix(PREFIX).is_some_and(is_auto) && value != "false");
    let by_annotation = annotations.iter().any(|(key, value)| {
        key.strip_prefix(PREFIX).is_some_and(|key| if is_auto(key) { value != "false" } else { !is_mere_setting(key) })
    });
    by_annotation || (by_label && annotations.get(AUTO_SCALED).is_none_or(|value| value != "false"))
}

/// The known key that is most like this word, if one is: at most two letters differ.
pub fn nearest_key(word: &str) -> Option<&'static str> {
    let word: String = word.chars().take(64).collect();
    let distances = KEYS.iter().map(|doc| (distance(&word, doc.key), doc.key));
    distances.min().filter(|(distance, _)| *distance <= 2).map(|(_, key)| key)
}

/// Whether it is a known key that requests nothing by itself.
fn is_mere_setting(key: &str) -> bool {
    let base = key.split_once('.').map_or(key, |(base, _)| base);
    base != "resize" && base != "requested" && KEYS.iter().any(|doc| doc.key == base)
}

impl Settings {
    /// Reads the annotations and labels of a StatefulSet with these templates, in the order of `volumeClaimTemplates`.
    ///
    /// The Event messages have the reason `InvalidAnnotation` or `UnknownAnnotation`, at most one for each key.
    pub fn read(
        annotations: &BTreeMap<String, String>,
        labels: &BTreeMap<String, String>,
        templates: &[TemplateName],
        limits: &Limits,
    ) -> (Self, Vec<Note>) {
        let sources = Source::of_set(annotations, labels);
        Self::of(&Stack { sources: &sources, policy_limits: &[], templates, limits })
    }

    /// Reads all that a StatefulSet is configured by.
    ///
    /// The Event messages are those of [`Settings::read`]: about the annotations and labels of the StatefulSet.
    pub fn of(stack: &Stack<'_>) -> (Self, Vec<Note>) {
        let (mut layers, notes) = annotations::read(stack.sources, stack.templates);
        let of_policies = stack.policy_limits.iter().map(|(name, limits)| (Origin::PolicyLimit(name.clone()), limits));
        for (origin, limits) in of_policies.chain([(Origin::Limit, stack.limits)]) {
            layers.extend(limits.layers(&origin));
        }
        let strictest = stack.policy_limits.iter().fold(stack.limits.clone(), |all, (_, limits)| all.and(limits));
        let of_template = |name: &TemplateName| (name.clone(), TemplateSettings::of(name.clone(), &layers, &strictest));
        let mut settings = Self { templates: stack.templates.iter().map(of_template).collect(), ..Self::default() };
        merge(&layers, None).into_values().for_each(|layer| settings.set(layer));
        (settings, notes)
    }

    fn set(&mut self, layer: &Layer) {
        match &layer.value {
            Value::Paused(paused) => self.paused = *paused,
            Value::AllowOwner(kind) => self.allow_owner = Some(kind.clone()),
            Value::TemplateSync(mode) => self.template_sync = *mode,
            Value::AutoScaled(_)
            | Value::InvalidAutoScaled
            | Value::Threshold(_)
            | Value::InodesThreshold(_)
            | Value::Increase(_)
            | Value::MinIncrease(_)
            | Value::MaxSize(_)
            | Value::Cooldown(_)
            | Value::LeadTime(_)
            | Value::Rescue(_)
            | Value::Request(_) => {}
        }
    }
}

#[cfg(test)]
mod tests;
