//! The layers that the sources of the settings of a StatefulSet make, and the errors in its annotations and labels.

use crate::api::annotations::{KEYS, PREFIX};
use crate::api::names::TemplateName;
use crate::api::reasons::{Note, Reason};
use crate::policy::overrides::{Layer, Origin, Value};
use crate::policy::settings::sources::Source;
use crate::policy::values::{self, Request, quote};

/// Reads the sources of a StatefulSet with these templates, in the order of `volumeClaimTemplates`.
///
/// There is an Event message about an invalid key of the StatefulSet only: the other objects have Events or conditions of
/// their own.
pub(super) fn read(sources: &[Source<'_>], templates: &[TemplateName]) -> (Vec<Layer>, Vec<Note>) {
    let mut reader = Reader { order: templates, layers: Vec::new(), notes: Vec::new() };
    for source in sources {
        for (key, value) in source.keys() {
            if source.is_set() {
                reader.read(key, value, source.origin(key));
            } else {
                reader.read_setting(key, value, source);
            }
        }
    }
    (reader.layers, reader.notes)
}

struct Reader<'a> {
    order: &'a [TemplateName],
    layers: Vec<Layer>,
    notes: Vec<Note>,
}

/// What is wrong with a key.
enum KeyError {
    /// The value, or the template or index in the key, is invalid.
    Invalid(String),
    /// There is no such key.
    Unknown,
}

impl From<String> for KeyError {
    fn from(why: String) -> Self {
        Self::Invalid(why)
    }
}

impl Reader<'_> {
    fn read(&mut self, key: &str, text: &str, origin: Origin) {
        let note = match self.add(key, text, origin.clone()) {
            Ok(()) => return,
            Err(KeyError::Invalid(why)) => {
                self.forbids(key, origin);
                let (shown, value) = (values::shown(key), quote(text));
                let text = format!("annotation {PREFIX}{shown} has no effect: invalid value {value}: {why}");
                Note::new(Reason::InvalidAnnotation, value, text).about(shown)
            }
            Err(KeyError::Unknown) => {
                let shown = values::shown(key);
                let text = format!("unknown annotation {PREFIX}{shown}; {}", self.suggestion(key));
                Note::new(Reason::UnknownAnnotation, "", text).about(shown)
            }
        };
        self.notes.push(note);
    }

    /// A setting of another object than the StatefulSet, which has no settings that apply to a StatefulSet as a whole.
    fn read_setting(&mut self, key: &str, text: &str, source: &Source<'_>) {
        let (origin, template) = (source.origin(key), source.template().cloned());
        let read = match key {
            "template-sync" if source.is_policy() => {
                values::template_sync(text).map(Value::TemplateSync).map_err(KeyError::from)
            }
            _ => value(key, text),
        };
        match read {
            Ok(value) => self.layers.push(Layer { origin, template, value }),
            Err(KeyError::Invalid(_)) if key == "auto-scaled" => {
                self.layers.push(Layer { origin, template, value: Value::InvalidAutoScaled });
            }
            Err(KeyError::Invalid(_) | KeyError::Unknown) => {}
        }
    }

    /// An invalid `auto-scaled` hides that of a weaker object.
    fn forbids(&mut self, key: &str, origin: Origin) {
        let (base, template) = key.split_once('.').map_or((key, None), |(base, template)| (base, Some(template)));
        if base == "auto-scaled" {
            let template = template.map(TemplateName::from);
            self.layers.push(Layer { origin, template, value: Value::InvalidAutoScaled });
        }
    }

    fn add(&mut self, key: &str, text: &str, origin: Origin) -> Result<(), KeyError> {
        if let Some(index) = key.strip_prefix("resize-") {
            return self.resize_by_index(index, key, text);
        }
        match key.split_once('.') {
            Some(("resize", template)) => {
                let size = values::some_size(text)?;
                let template = self.template(template)?;
                self.request(template, Request { size, key: key.to_owned() });
            }
            Some((base, template)) => {
                if !KEYS.iter().any(|doc| doc.per_template && doc.key == base) {
                    return Err(KeyError::Unknown);
                }
                let template = Some(self.template(template)?);
                self.layers.push(Layer { origin, template, value: value(base, text)? });
            }
            None => self.of_the_set(key, text, origin)?,
        }
        Ok(())
    }

    fn of_the_set(&mut self, key: &str, text: &str, origin: Origin) -> Result<(), KeyError> {
        let value = match key {
            "paused" => Value::Paused(values::truth(text)?),
            "allow-owner" => Value::AllowOwner(values::kind(text)?),
            "template-sync" => Value::TemplateSync(values::template_sync(text)?),
            "requested" => return self.absorbed(key, text),
            // Read at the moment of a delete only, by the deletion protection policy and by the recreation.
            "allow-delete" => return values::truth(text).map(drop).map_err(KeyError::from),
            // State of the operator that says nothing about sizes.
            "transaction" | "resized-at" | "resize-seen" => return Ok(()),
            "rescued" => {
                return Err(KeyError::Invalid("rso writes this key, on PVCs; the setting is rescue".to_owned()));
            }
            _ if self.order.is_empty() => return Ok(()),
            _ => value(key, text)?,
        };
        self.layers.push(Layer { origin, template: None, value });
        Ok(())
    }

    fn resize_by_index(&mut self, index: &str, key: &str, text: &str) -> Result<(), KeyError> {
        if index.is_empty() || !index.bytes().all(|b| b.is_ascii_digit()) || (index.starts_with('0') && index != "0") {
            return Err(KeyError::Unknown);
        }
        let size = values::some_size(text)?;
        let name = index.parse().ok().and_then(|index: usize| self.order.get(index)).cloned();
        let name = name.ok_or_else(|| KeyError::Invalid(format!("there is no such template; {}", self.existing())))?;
        self.request(name, Request { size, key: key.to_owned() });
        Ok(())
    }

    /// The state that the webhook wrote. A template that no longer exists affects no other.
    fn absorbed(&mut self, key: &str, text: &str) -> Result<(), KeyError> {
        let mut gone = Ok(());
        for (template, size) in values::requested(text)? {
            match self.template(template) {
                Ok(template) => self.request(template, Request { size, key: key.to_owned() }),
                Err(error) => gone = Err(error),
            }
        }
        gone
    }

    fn request(&mut self, template: TemplateName, request: Request) {
        let origin = Origin::Annotation(request.key.clone());
        self.layers.push(Layer { origin, template: Some(template), value: Value::Request(request) });
    }

    fn template(&self, name: &str) -> Result<TemplateName, KeyError> {
        let unknown = || KeyError::Invalid(format!("there is no template {}; {}", quote(name), self.existing()));
        self.order.iter().find(|template| template.as_str() == name).cloned().ok_or_else(unknown)
    }

    /// The templates that exist, with their indices.
    fn existing(&self) -> String {
        if self.order.is_empty() {
            return "the StatefulSet has no volumeClaimTemplates".to_owned();
        }
        let named = self.order.iter().enumerate().take(8).map(|(index, name)| format!("{index} {name}"));
        format!("the StatefulSet has {}", named.collect::<Vec<_>>().join(", "))
    }

    /// The key that was probably meant.
    fn suggestion(&self, key: &str) -> String {
        if let Some(name) = key.strip_prefix("resize-").filter(|name| self.order.iter().any(|t| t.as_str() == *name)) {
            return format!("did you mean resize.{name}?");
        }
        let (base, template) = key.split_once('.').map_or((key, None), |(base, template)| (base, Some(template)));
        if template.is_some() && KEYS.iter().any(|doc| doc.key == base) {
            return format!("{base} applies to the whole StatefulSet: use it without the template");
        }
        let base: String = base.chars().take(64).collect();
        if base == "resize" {
            return "did you mean resize-<N>?".to_owned();
        }
        let nearest = KEYS.iter().min_by_key(|doc| values::distance(&base, doc.key)).map_or("", |doc| doc.key);
        format!("did you mean {nearest}?")
    }
}

/// The value of a key that can be set for the StatefulSet and for one template.
fn value(key: &str, text: &str) -> Result<Value, KeyError> {
    Ok(match key {
        "auto-scaled" => Value::AutoScaled(values::auto(text)?),
        "threshold" => Value::Threshold(values::threshold(text)?),
        "inodes-threshold" => Value::InodesThreshold(values::threshold(text)?),
        "increase" => Value::Increase(values::increase(text)?),
        "min-increase" => Value::MinIncrease(values::size(text)?),
        "max-size" => Value::MaxSize(values::some_size(text)?),
        "cooldown" => Value::Cooldown(values::duration(text)?),
        "lead-time" => Value::LeadTime(values::duration(text)?),
        "rescue" => Value::Rescue(values::truth(text)?),
        _ => return Err(KeyError::Unknown),
    })
}
