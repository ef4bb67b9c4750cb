//! The settings of a template as people write them, each with its origin.

use super::{Auto, Increase, Origin, TemplateSettings, TemplateSync};
use crate::policy::spoken;

/// A setting as people write it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed<'a> {
    /// The key of the annotation, without the prefix.
    pub key: &'static str,
    /// The value.
    pub value: String,
    /// Its source; `None`: the default.
    pub origin: Option<&'a Origin>,
}

impl TemplateSettings {
    /// Every setting, in the order of the reference page.
    pub fn listed(&self) -> Vec<Listed<'_>> {
        let none = || "none".to_owned();
        let values = [
            ("auto-scaled", auto(self.auto).to_owned()),
            ("threshold", self.threshold.to_string()),
            ("inodes-threshold", self.inodes_threshold.to_string()),
            ("increase", increase(self.increase)),
            ("min-increase", self.min_increase.to_string()),
            ("max-size", self.max_size.map_or_else(none, |size| size.to_string())),
            ("cooldown", self.cooldown.map_or_else(|| "by driver".to_owned(), spoken)),
            ("lead-time", self.lead_time.map_or_else(|| "off".to_owned(), spoken)),
            ("rescue", self.rescue.to_string()),
            ("template-sync", sync(self.template_sync).to_owned()),
        ];
        values.map(|(key, value)| Listed { key, value, origin: self.origins.get(key) }).to_vec()
    }
}

const fn auto(auto: Auto) -> &'static str {
    match auto {
        Auto::Off => "false",
        Auto::Recommend => "recommend",
        Auto::On => "true",
    }
}

fn increase(increase: Increase) -> String {
    match increase {
        Increase::Share(share) => share.to_string(),
        Increase::Size(size) => size.to_string(),
    }
}

const fn sync(mode: TemplateSync) -> &'static str {
    match mode {
        TemplateSync::Always => "Always",
        TemplateSync::OnUserChange => "OnUserChange",
        TemplateSync::Never => "Never",
    }
}
