//! What do the annotations of a set ask for, with the defaults filled in and the administrator's limits kept?
//!
//! A value that cannot be read leaves that key without effect, and is told; it disturbs no other key. An `auto-scaled`
//! annotation that cannot be read still hides the label: nobody grows by usage on the word of a set that may have said no.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::api::annotations::{AUTO_SCALED, KEYS, PREFIX, REQUESTED};
use crate::api::bytes::{Bytes, Percent};
use crate::api::names::TemplateName;
use crate::api::reasons::{Note, Reason};

use super::values::{self, quote};

/// What the cluster's administrator allows, by flags. Beats every annotation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// No claim grows above this.
    pub max_size: Option<Bytes>,
    /// No step by usage is larger than this.
    pub max_step: Option<Bytes>,
    /// No claim grows by usage more often than this.
    pub min_cooldown: Duration,
}

/// Does a template grow by usage?
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Auto {
    /// No.
    #[default]
    Off,
    /// It is told what would be done.
    Recommend,
    /// Yes.
    On,
}

/// When the template of a set is rewritten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TemplateSync {
    /// Whenever its claims are larger.
    #[default]
    Always,
    /// When a person or an apply asked for a larger size.
    OnUserChange,
    /// Not at all.
    Never,
}

/// The size of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Increase {
    /// A share of the present capacity.
    Share(Percent),
    /// That much.
    Size(Bytes),
}

/// A size that somebody asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// How much.
    pub size: Bytes,
    /// The annotation that says so, without the prefix.
    pub key: String,
}

impl Request {
    /// It was an apply that the webhook absorbed, not an annotation that a person wrote.
    pub fn is_from_apply(&self) -> bool {
        REQUESTED.strip_prefix(PREFIX) == Some(self.key.as_str())
    }
}

/// Where a setting comes from, when it is not the default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// An annotation of the set, without the prefix.
    Annotation(String),
    /// A label of the set, without the prefix.
    Label(String),
    /// The administrator's limit, which is stricter than what the set says.
    Limit,
}

/// What holds for one template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateSettings {
    /// Which template.
    pub name: TemplateName,
    /// Does it grow by usage?
    pub auto: Auto,
    /// Grow when a replica is this full.
    pub threshold: Percent,
    /// Likewise for inodes.
    pub inodes_threshold: Percent,
    /// The size of a step.
    pub increase: Increase,
    /// A step is at least this.
    pub min_increase: Bytes,
    /// A step is at most this: the administrator's.
    pub max_step: Option<Bytes>,
    /// Never above this; the smaller of the set's and the administrator's.
    pub max_size: Option<Bytes>,
    /// The least time between two growths by usage, when the set says one; otherwise the driver's holds.
    pub cooldown: Option<Duration>,
    /// The least time between two growths by usage, whatever set and driver say: the administrator's.
    pub min_cooldown: Duration,
    /// Grow when the forecast says full within this time.
    pub lead_time: Option<Duration>,
    /// The largest size that is asked for.
    pub requested: Option<Request>,
    /// The mode of the set.
    pub template_sync: TemplateSync,
    /// Where each setting comes from, by its key; what is missing is the default.
    pub origins: BTreeMap<String, Origin>,
}

impl TemplateSettings {
    /// The defaults of the product.
    pub fn new(name: TemplateName, limits: &Limits) -> Self {
        let mut origins = BTreeMap::new();
        if limits.max_size.is_some() {
            origins.insert("max-size".to_owned(), Origin::Limit);
        }
        Self {
            name,
            auto: Auto::Off,
            threshold: Percent::whole(80),
            inodes_threshold: Percent::whole(80),
            increase: Increase::Share(Percent::whole(20)),
            min_increase: Bytes::gib(1),
            max_step: limits.max_step,
            max_size: limits.max_size,
            cooldown: None,
            min_cooldown: limits.min_cooldown,
            lead_time: None,
            requested: None,
            template_sync: TemplateSync::Always,
            origins,
        }
    }
}

/// What holds for a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Nothing is started.
    pub paused: bool,
    /// The kind of a controller whose set may be recreated.
    pub allow_owner: Option<String>,
    /// When the template is rewritten.
    pub template_sync: TemplateSync,
    /// Every template of the set.
    pub templates: BTreeMap<TemplateName, TemplateSettings>,
}

/// Is there anything for us to do for a set that carries these, be it only to tell that a key is misspelt?
///
/// A set with none of our keys, or with `auto-scaled: "false"` and settings only, is never touched.
pub fn concerns_us(annotations: &BTreeMap<String, String>, labels: &BTreeMap<String, String>) -> bool {
    let is_auto = |key: &str| key == "auto-scaled" || key.starts_with("auto-scaled.");
    let by_label = labels.iter().any(|(key, value)| key.strip_prefix(PREFIX).is_some_and(is_auto) && value != "false");
    let by_annotation = annotations.iter().any(|(key, value)| {
        key.strip_prefix(PREFIX).is_some_and(|key| if is_auto(key) { value != "false" } else { !is_mere_setting(key) })
    });
    by_annotation || (by_label && annotations.get(AUTO_SCALED).is_none_or(|value| value != "false"))
}

/// A known key that asks for nothing by itself.
fn is_mere_setting(key: &str) -> bool {
    let base = key.split_once('.').map_or(key, |(base, _)| base);
    base != "resize" && base != "requested" && KEYS.iter().any(|doc| doc.key == base)
}

impl Settings {
    /// Reads the annotations and labels of a set whose templates, in the order of `volumeClaimTemplates`, are these.
    ///
    /// The notes are `InvalidAnnotation` and `UnknownAnnotation`, at most one a key.
    pub fn read(
        annotations: &BTreeMap<String, String>,
        labels: &BTreeMap<String, String>,
        templates: &[TemplateName],
        limits: &Limits,
    ) -> (Self, Vec<Note>) {
        let defaults = templates.iter().map(|name| (name.clone(), TemplateSettings::new(name.clone(), limits)));
        let mut reader = Reader { order: templates, settings: Self::with(defaults.collect()), notes: Vec::new() };
        for (full, value) in labels.iter().filter(|(full, _)| !annotations.contains_key(*full)) {
            if let Some(key) = full.strip_prefix(PREFIX).filter(|key| key.split('.').next() == Some("auto-scaled")) {
                reader.read(key, value, Origin::Label(key.to_owned()));
            }
        }
        // In the order of the keys `max-size` comes before `max-size.data`, so the override is applied last.
        for (full, value) in annotations {
            if let Some(key) = full.strip_prefix(PREFIX) {
                reader.read(key, value, Origin::Annotation(key.to_owned()));
            }
        }
        let (mut settings, notes) = (reader.settings, reader.notes);
        settings.templates.values_mut().for_each(|template| template.keep_to(limits));
        (settings, notes)
    }

    fn with(templates: BTreeMap<TemplateName, TemplateSettings>) -> Self {
        Self { paused: false, allow_owner: None, template_sync: TemplateSync::Always, templates }
    }
}

impl TemplateSettings {
    /// The administrator's limits beat what was read.
    fn keep_to(&mut self, limits: &Limits) {
        if let Some(limit) = limits.max_size
            && self.max_size.is_none_or(|max| max > limit)
        {
            self.max_size = Some(limit);
            self.origins.insert("max-size".to_owned(), Origin::Limit);
        }
        if self.cooldown.is_some_and(|cooldown| cooldown < limits.min_cooldown) {
            self.cooldown = Some(limits.min_cooldown);
            self.origins.insert("cooldown".to_owned(), Origin::Limit);
        }
    }

    /// Takes a request if it is the largest so far.
    fn ask(&mut self, size: Bytes, key: &str) {
        if self.requested.as_ref().is_none_or(|known| known.size < size) {
            self.requested = Some(Request { size, key: key.to_owned() });
        }
    }
}

struct Reader<'a> {
    order: &'a [TemplateName],
    settings: Settings,
    notes: Vec<Note>,
}

/// What is wrong with a key.
enum Fault {
    /// The value, or the template or index in the key, has no meaning.
    Invalid(String),
    /// There is no such key.
    Unknown,
}

impl From<String> for Fault {
    fn from(why: String) -> Self {
        Self::Invalid(why)
    }
}

impl Reader<'_> {
    fn read(&mut self, key: &str, value: &str, origin: Origin) {
        let note = match self.apply(key, value, &origin) {
            Ok(()) => return,
            Err(Fault::Invalid(why)) => {
                let (shown, value) = (shown(key), quote(value));
                let text = format!("annotation {PREFIX}{shown} has no effect: invalid value {value}: {why}");
                Note::new(Reason::InvalidAnnotation, value, text).about(shown)
            }
            Err(Fault::Unknown) => {
                let shown = shown(key);
                let text = format!("unknown annotation {PREFIX}{shown}; {}", self.suggestion(key));
                Note::new(Reason::UnknownAnnotation, "", text).about(shown)
            }
        };
        self.notes.push(note);
    }

    fn apply(&mut self, key: &str, value: &str, origin: &Origin) -> Result<(), Fault> {
        if let Some(index) = key.strip_prefix("resize-") {
            return self.resize_by_index(index, key, value);
        }
        match key.split_once('.') {
            Some(("resize", template)) => {
                let size = values::some_size(value)?;
                self.template(template)?.ask(size, key);
                Ok(())
            }
            Some((base, template)) => {
                if !KEYS.iter().any(|doc| doc.per_template && doc.key == base) {
                    return Err(Fault::Unknown);
                }
                change(self.template(template)?, base, value, origin)
            }
            None => self.of_the_set(key, value, origin),
        }
    }

    fn of_the_set(&mut self, key: &str, value: &str, origin: &Origin) -> Result<(), Fault> {
        match key {
            "paused" => self.settings.paused = values::truth(value)?,
            // Asked for at the moment of a delete only, by the guard policy and by the recreate.
            "allow-delete" => drop(values::truth(value)?),
            "allow-owner" => self.settings.allow_owner = Some(values::kind(value)?),
            "template-sync" => {
                let mode = values::template_sync(value)?;
                self.settings.template_sync = mode;
                self.settings.templates.values_mut().for_each(|template| {
                    template.template_sync = mode;
                    template.origins.insert(key.to_owned(), origin.clone());
                });
            }
            "requested" => self.absorbed(key, value)?,
            // State of ours that says nothing about sizes.
            "transaction" | "resized-at" => {}
            _ => {
                for template in self.settings.templates.values_mut() {
                    change(template, key, value, origin)?;
                }
            }
        }
        Ok(())
    }

    fn resize_by_index(&mut self, index: &str, key: &str, value: &str) -> Result<(), Fault> {
        if index.is_empty() || !index.bytes().all(|b| b.is_ascii_digit()) || (index.starts_with('0') && index != "0") {
            return Err(Fault::Unknown);
        }
        let size = values::some_size(value)?;
        let name = index.parse().ok().and_then(|index: usize| self.order.get(index)).cloned();
        let name = name.ok_or_else(|| Fault::Invalid(format!("there is no such template; {}", self.existing())))?;
        self.template(name.as_str())?.ask(size, key);
        Ok(())
    }

    /// The state that the webhook wrote. A template that is no longer there disturbs no other.
    fn absorbed(&mut self, key: &str, value: &str) -> Result<(), Fault> {
        let mut gone = Ok(());
        for (template, size) in values::requested(value)? {
            match self.template(template) {
                Ok(settings) => settings.ask(size, key),
                Err(fault) => gone = Err(fault),
            }
        }
        gone
    }

    fn template(&mut self, name: &str) -> Result<&mut TemplateSettings, Fault> {
        let existing = self.existing();
        let unknown = || Fault::Invalid(format!("there is no template {}; {existing}", quote(name)));
        self.settings.templates.get_mut(&TemplateName::from(name)).ok_or_else(unknown)
    }

    /// What templates there are, with their indices.
    fn existing(&self) -> String {
        if self.order.is_empty() {
            return "the StatefulSet has no volumeClaimTemplates".to_owned();
        }
        let named = self.order.iter().enumerate().take(8).map(|(index, name)| format!("{index} {name}"));
        format!("the StatefulSet has {}", named.collect::<Vec<_>>().join(", "))
    }

    /// The name that was probably meant.
    fn suggestion(&self, key: &str) -> String {
        if let Some(name) = key.strip_prefix("resize-").filter(|name| self.order.iter().any(|t| t.as_str() == *name)) {
            return format!("did you mean resize.{name}?");
        }
        let (base, template) = key.split_once('.').map_or((key, None), |(base, template)| (base, Some(template)));
        if template.is_some() && KEYS.iter().any(|doc| doc.key == base) {
            return format!("{base} applies to the whole StatefulSet: use it without the template");
        }
        let base: String = base.chars().take(64).collect();
        let nearest = KEYS.iter().min_by_key(|doc| values::distance(&base, doc.key)).map_or("", |doc| doc.key);
        format!("did you mean {nearest}?")
    }
}

/// Puts one value into one template.
fn change(template: &mut TemplateSettings, key: &str, value: &str, origin: &Origin) -> Result<(), Fault> {
    match key {
        "auto-scaled" => template.auto = values::auto(value)?,
        "threshold" => template.threshold = values::threshold(value)?,
        "inodes-threshold" => template.inodes_threshold = values::threshold(value)?,
        "increase" => template.increase = values::increase(value)?,
        "min-increase" => template.min_increase = values::size(value)?,
        "max-size" => template.max_size = Some(values::some_size(value)?),
        "cooldown" => template.cooldown = Some(values::duration(value)?),
        "lead-time" => template.lead_time = Some(values::duration(value)?),
        _ => return Err(Fault::Unknown),
    }
    template.origins.insert(key.to_owned(), origin.clone());
    Ok(())
}

/// A key as it is shown: the API server allows only plain characters in it, but not everybody asks the API server.
fn shown(key: &str) -> String {
    key.chars().take(128).map(|c| if c.is_ascii_graphic() { c } else { '?' }).collect()
}

#[cfg(test)]
mod tests;
